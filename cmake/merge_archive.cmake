# edgemoe_merge_archive(<name> OBJECTS <target> ARCHIVES <target or file>... KEEP <pattern>)
#
# Makes lib<name>.a, one object file of the target's objects and of what they need from the archives. Its only global symbols are those
# that match KEEP, so that a program may have another llama.cpp, or another version of ggml, beside it. Defines the target <name>.
#
# Groups of sections (COMDAT) are dissolved: the linker would throw away ours in favour of another file's group of the same name, and
# what refers to it by a symbol that is local now would have nothing left to refer to.
execute_process(COMMAND ${CMAKE_LINKER} --help OUTPUT_VARIABLE linker_help ERROR_QUIET)
if(CMAKE_OBJCOPY AND linker_help MATCHES "force-group-allocation")
    set(EDGEMOE_CAN_LOCALIZE TRUE)
else()
    set(EDGEMOE_CAN_LOCALIZE FALSE)
    message(STATUS "The static libraries will show their inner symbols: ${CMAKE_LINKER} has no --force-group-allocation, or there is no objcopy")
endif()

function(edgemoe_merge_archive name)
    cmake_parse_arguments(ARG "" "OBJECTS;KEEP" "ARCHIVES" ${ARGN})
    set(archives)
    set(depends ${ARG_OBJECTS})
    foreach(archive IN LISTS ARG_ARCHIVES)
        if(TARGET ${archive})
            list(APPEND archives $<TARGET_FILE:${archive}>)
            list(APPEND depends ${archive})
        else()
            list(APPEND archives ${archive})
        endif()
    endforeach()
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
    set(library ${CMAKE_CURRENT_BINARY_DIR}/lib${name}.a)
    set(merge COMMAND ${CMAKE_LINKER} -r)
    if(EDGEMOE_CAN_LOCALIZE)
        list(APPEND merge --force-group-allocation)
    endif()
    list(APPEND merge -o ${object} $<TARGET_OBJECTS:${ARG_OBJECTS}> --start-group ${archives} --end-group)
    if(EDGEMOE_CAN_LOCALIZE)
        list(APPEND merge COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=${ARG_KEEP} ${object})
    endif()
    add_custom_command(OUTPUT ${library} ${merge}
                       COMMAND ${CMAKE_COMMAND} -E rm -f ${library}
                       COMMAND ${CMAKE_AR} qc ${library} ${object}
                       COMMAND ${CMAKE_RANLIB} ${library}
                       BYPRODUCTS ${object} DEPENDS ${depends} $<TARGET_OBJECTS:${ARG_OBJECTS}>
                       COMMENT "Merging lib${name}.a" VERBATIM COMMAND_EXPAND_LISTS)
    add_custom_target(${name}_archive ALL DEPENDS ${library})
    add_library(${name} STATIC IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${library} IMPORTED_LINK_INTERFACE_LANGUAGES CXX)
    add_dependencies(${name} ${name}_archive)
endfunction()
