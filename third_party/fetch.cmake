# edgemoe_fetch(<variable> <name> <pin file> <what pip needs beyond the pin>...): fetches what the pin file names by version and hash with
# pip, once, into a cache folder named by the hash, unpacks it there, and sets <variable> to that folder.
function(edgemoe_fetch out_dir name pin_file)
    file(STRINGS ${pin_file} pin REGEX "^${name}==")
    string(REGEX MATCH "==([0-9.]+) --hash=sha256:([0-9a-f]+)" _ "${pin}")
    set(version ${CMAKE_MATCH_1})
    string(SUBSTRING "${CMAKE_MATCH_2}" 0 16 hash)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${pin_file})

    if(DEFINED ENV{XDG_CACHE_HOME})
        set(cache $ENV{XDG_CACHE_HOME}/edgemoe)
    elseif(DEFINED ENV{HOME})
        set(cache $ENV{HOME}/.cache/edgemoe)
    else()
        set(cache ${CMAKE_BINARY_DIR}/_cache)
    endif()
    set(tree ${cache}/${name}-${version}-${hash})

    file(MAKE_DIRECTORY ${cache})
    file(LOCK ${cache} DIRECTORY GUARD FUNCTION TIMEOUT 600)
    if(NOT EXISTS ${tree}/complete)
        find_package(Python COMPONENTS Interpreter REQUIRED)
        message(STATUS "Fetching ${name} ${version} into ${tree}")
        file(REMOVE_RECURSE ${tree})
        file(MAKE_DIRECTORY ${tree})
        execute_process(
            COMMAND ${Python_EXECUTABLE} -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes ${ARGN}
                    -r ${pin_file} -d ${tree}
            RESULT_VARIABLE result ERROR_VARIABLE error)
        if(NOT result EQUAL 0)
            file(REMOVE_RECURSE ${tree})
            message(FATAL_ERROR "Cannot fetch ${name} (pip and a package index are needed): ${error}\n"
                    "Without a network, give source trees: -DEDGEMOE_LLAMA_CPP_DIR=<folder> -DEDGEMOE_EIGEN_DIR=<folder>")
        endif()
        file(GLOB archive ${tree}/*.tar.gz ${tree}/*.whl)
        file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${tree})
        file(REMOVE ${archive})
        file(TOUCH ${tree}/complete)
    endif()
    set(${out_dir} ${tree} PARENT_SCOPE)
endfunction()
