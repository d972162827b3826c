# cmake -P: writes WORK/cpu_variant_table.S: for each function that all variants have, a jump through its slot; the slots; for each
# variant the addresses of its functions; the table that cpp/src/cpu/variant_table.h declares.
# VARIANTS: "name=features|name=features".
cmake_minimum_required(VERSION 3.21)  # a script has no policies of its own
string(REPLACE "|" ";" VARIANTS "${VARIANTS}")
set(first "")
foreach(entry ${VARIANTS})
    string(REGEX REPLACE "=.*" "" variant "${entry}")
    file(STRINGS ${WORK}/${variant}.symbols symbols)
    if(first STREQUAL "")
        set(first ${variant})
        set(functions "${symbols}")
    elseif(NOT symbols STREQUAL functions)
        message(FATAL_ERROR "The variants ${first} and ${variant} do not have the same functions; "
                            "compare ${WORK}/${first}.symbols and ${WORK}/${variant}.symbols")
    endif()
endforeach()
if(NOT "ggml_backend_cpu_reg" IN_LIST functions)
    message(FATAL_ERROR "ggml_backend_cpu_reg is not among the functions of ${first}")
endif()

set(text "/* Written by write_variant_table.cmake. */\n    .text\n")
set(slot 0)
foreach(name ${functions})
    string(APPEND text "    .globl ${name}\n    .hidden ${name}\n    .type ${name}, %function\n    .p2align 4\n${name}:\n")
    math(EXPR offset "${slot} * 8")
    if(PROCESSOR MATCHES "^(aarch64|arm64)$")
        # x16 is the register that a call may lose on its way
        string(APPEND text "    adrp x16, edgemoe_cpu_slots+${offset}\n    ldr x16, [x16, :lo12:edgemoe_cpu_slots+${offset}]\n    br x16\n")
    else()
        string(APPEND text "    jmp *edgemoe_cpu_slots+${offset}(%rip)\n")
    endif()
    string(APPEND text "    .size ${name}, .-${name}\n")
    math(EXPR slot "${slot} + 1")
endforeach()

function(addresses variant out)
    string(MAKE_C_IDENTIFIER ${variant} suffix)
    set(lines "")
    foreach(name ${functions})
        string(APPEND lines "    .quad ${name}__${suffix}\n")
    endforeach()
    set(${out} "${lines}" PARENT_SCOPE)
endfunction()

addresses(${first} initial)
string(APPEND text "    .data\n    .p2align 6\n    .globl edgemoe_cpu_slots\n    .hidden edgemoe_cpu_slots\nedgemoe_cpu_slots:\n${initial}")
string(APPEND text "    .section .data.rel.ro, \"aw\"\n    .p2align 3\n")
set(table "")
set(strings "")
set(n 0)
foreach(entry ${VARIANTS})
    string(REGEX REPLACE "=.*" "" variant "${entry}")
    string(REGEX REPLACE "^[^=]*=" "" features "${entry}")
    string(MAKE_C_IDENTIFIER ${variant} suffix)
    addresses(${variant} own)
    string(APPEND text ".Lfunctions_${suffix}:\n${own}")
    string(APPEND table "    .quad .Lname_${suffix}\n    .quad .Lfeatures_${suffix}\n    .quad edgemoe_cpu_score_${suffix}\n"
                        "    .quad .Lfunctions_${suffix}\n")
    string(APPEND strings ".Lname_${suffix}: .asciz \"${variant}\"\n.Lfeatures_${suffix}: .asciz \"${features}\"\n")
    math(EXPR n "${n} + 1")
endforeach()
string(APPEND text "    .globl edgemoe_cpu_variant_table\n    .hidden edgemoe_cpu_variant_table\nedgemoe_cpu_variant_table:\n${table}"
    "    /* whoever calls a kernel also links the choice */\n    .quad edgemoe_cpu_select\n"
    "    .section .rodata\n    .p2align 3\n"
    "    .globl edgemoe_cpu_n_slots\n    .hidden edgemoe_cpu_n_slots\nedgemoe_cpu_n_slots: .quad ${slot}\n"
    "    .globl edgemoe_cpu_n_variants\n    .hidden edgemoe_cpu_n_variants\nedgemoe_cpu_n_variants: .quad ${n}\n${strings}"
    "    .section .note.GNU-stack, \"\", %progbits\n")
file(WRITE ${WORK}/cpu_variant_table.S "${text}")
