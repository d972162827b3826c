# cmake -P: from WORK/VARIANT.whole.o makes WORK/VARIANT.o, whose only global symbols are the functions of HEADER (ggml-cpu.h) and the
# project's own, with "__VARIANT" behind their names, and WORK/VARIANT.symbols, the list of those names without it.
cmake_minimum_required(VERSION 3.21)  # a script has no policies of its own
string(MAKE_C_IDENTIFIER ${VARIANT} suffix)
file(READ ${HEADER} header)
string(REGEX MATCHALL "ggml_[a-z0-9_]+ *\\(" declared "${header}")
list(TRANSFORM declared REPLACE " *\\($" "")

execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${WORK}/${VARIANT}.whole.o
                OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+ T " functions "${listing}")
set(exported "")
foreach(line ${functions})
    string(REGEX REPLACE " T $" "" name "${line}")
    if(name IN_LIST declared OR name MATCHES "^_ZNK?7edgemoe")
        list(APPEND exported ${name})
    endif()
endforeach()
list(SORT exported)

set(renaming "")
set(kept "")
foreach(name ${exported})
    string(APPEND renaming "${name} ${name}__${suffix}\n")
    string(APPEND kept "${name}__${suffix}\n")
endforeach()
file(WRITE ${WORK}/${VARIANT}.renaming "${renaming}")
file(WRITE ${WORK}/${VARIANT}.kept "${kept}")
execute_process(COMMAND ${OBJCOPY} --redefine-syms=${WORK}/${VARIANT}.renaming ${WORK}/${VARIANT}.whole.o ${WORK}/${VARIANT}.renamed.o
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${OBJCOPY} --keep-global-symbols=${WORK}/${VARIANT}.kept ${WORK}/${VARIANT}.renamed.o ${WORK}/${VARIANT}.o
                COMMAND_ERROR_IS_FATAL ANY)

# What would run while the library is loaded would run on processors that lack the variant's instructions.
execute_process(COMMAND ${OBJDUMP} --section-headers ${WORK}/${VARIANT}.o OUTPUT_VARIABLE sections COMMAND_ERROR_IS_FATAL ANY)
if(sections MATCHES "\\.(init_array|ctors)")
    message(FATAL_ERROR "${VARIANT}: a global object of ggml-cpu or cpp/src/rounding has a constructor; make it constant, or local to a function")
endif()
execute_process(COMMAND ${NM} --defined-only --extern-only --format=posix ${WORK}/${VARIANT}.o
                OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\n" lines "${listing}")
list(LENGTH lines n_global)
list(LENGTH exported n_exported)
if(NOT n_global EQUAL n_exported)
    message(FATAL_ERROR "${VARIANT}: ${n_global} global symbols, not ${n_exported}: objcopy left some that should be local")
endif()
file(REMOVE ${WORK}/${VARIANT}.whole.o ${WORK}/${VARIANT}.renamed.o)
list(JOIN exported "\n" lines)
file(WRITE ${WORK}/${VARIANT}.symbols "${lines}\n")
