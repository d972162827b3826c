# llama.cpp: found in EDGEMOE_LLAMA_CPP_DIR, or fetched once, by version and hash, into a cache folder named by the hash.
# Defines the targets llama and ggml (static, position independent, hidden) and EDGEMOE_LLAMA_CPP_SOURCE.

set(EDGEMOE_LLAMA_CPP_DIR "" CACHE PATH "Local llama.cpp source tree to use instead of the pinned one")

function(edgemoe_fetch_llama_cpp out_dir)
    set(pin_file ${CMAKE_CURRENT_SOURCE_DIR}/third_party/llama-cpp.txt)
    file(STRINGS ${pin_file} pin REGEX "^llama-cpp-python==")
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
    set(tree ${cache}/llama-cpp-python-${version}-${hash})
    set(source ${tree}/llama_cpp_python-${version}/vendor/llama.cpp)

    file(MAKE_DIRECTORY ${cache})
    file(LOCK ${cache} DIRECTORY GUARD FUNCTION TIMEOUT 600)
    if(NOT EXISTS ${tree}/complete)
        find_package(Python COMPONENTS Interpreter REQUIRED)
        message(STATUS "Fetching llama.cpp (llama-cpp-python ${version}, 76 MB) into ${tree}")
        file(REMOVE_RECURSE ${tree})
        file(MAKE_DIRECTORY ${tree})
        execute_process(
            COMMAND ${Python_EXECUTABLE} -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation
                    --no-binary llama-cpp-python --require-hashes -r ${pin_file} -d ${tree}
            RESULT_VARIABLE result ERROR_VARIABLE error)
        if(NOT result EQUAL 0)
            file(REMOVE_RECURSE ${tree})
            message(FATAL_ERROR "Cannot fetch llama.cpp (pip, scikit-build-core and a package index are needed): ${error}\n"
                    "Without a network, give a source tree: -DEDGEMOE_LLAMA_CPP_DIR=<folder>")
        endif()
        file(GLOB archive ${tree}/*.tar.gz)
        file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${tree})
        file(REMOVE ${archive})
        file(TOUCH ${tree}/complete)
    endif()
    set(${out_dir} ${source} PARENT_SCOPE)
endfunction()

if(EDGEMOE_LLAMA_CPP_DIR)
    set(EDGEMOE_LLAMA_CPP_SOURCE ${EDGEMOE_LLAMA_CPP_DIR})
else()
    edgemoe_fetch_llama_cpp(EDGEMOE_LLAMA_CPP_SOURCE)
endif()
if(NOT EXISTS ${EDGEMOE_LLAMA_CPP_SOURCE}/include/llama.h)
    message(FATAL_ERROR "${EDGEMOE_LLAMA_CPP_SOURCE} is not a llama.cpp source tree (include/llama.h is missing)")
endif()

set(BUILD_SHARED_LIBS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

set(GGML_OPENMP OFF CACHE BOOL "Two programs that share cores spin each other out with OpenMP" FORCE)
set(LLAMA_BUILD_COMMON ${EDGEMOE_BUILD_LLAMA_TOOLS} CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TOOLS ${EDGEMOE_BUILD_LLAMA_TOOLS} CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TESTS ${EDGEMOE_BUILD_LLAMA_TOOLS} CACHE BOOL "" FORCE)
set(LLAMA_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_SERVER OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_APP OFF CACHE BOOL "" FORCE)
set(LLAMA_CURL OFF CACHE BOOL "" FORCE)
set(LLAMA_OPENSSL OFF CACHE BOOL "" FORCE)
set(LLAMA_INSTALL OFF CACHE BOOL "" FORCE)

add_subdirectory(${EDGEMOE_LLAMA_CPP_SOURCE} ${CMAKE_BINARY_DIR}/llama.cpp EXCLUDE_FROM_ALL SYSTEM)

# ggml's AMX kernels crash on machines that announce AMX without granting it to the process (SIGSEGV at ldtilecfg).
if(TARGET ggml-cpu AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(ggml-cpu PRIVATE -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
endif()
