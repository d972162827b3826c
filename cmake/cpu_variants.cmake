# Kernels for several processors in one static library, chosen when it is loaded (cpp/src/cpu/cpu_variant.h).
#
# Everything that is compiled for an instruction set, which is ggml-cpu and cpp/src/rounding, is compiled once for each variant. The
# objects of a variant are linked into one (ld -r), in which all symbols become local but the functions that are called from outside,
# which get a suffix. So the copies cannot meet, and no inline function that was compiled for one processor serves another. Under
# their own names those functions are jumps through a table (write_variant_table.cmake). ggml itself has such a choice for
# shared libraries only (GGML_CPU_ALL_VARIANTS); here nothing is left outside, and nothing of ggml is changed.

# edgemoe_variant(<name> <features> <flags>): features as in ggml's cpu-feats.cpp, without its prefix.
set(EDGEMOE_CPU_VARIANT_NAMES "")
macro(edgemoe_variant name features flags)
    list(APPEND EDGEMOE_CPU_VARIANT_NAMES ${name})
    set(EDGEMOE_CPU_FEATURES_${name} "${features}")
    set(EDGEMOE_CPU_FLAGS_${name} ${flags})
endmacro()

# Least first. None has AMX: ggml's kernels crash where it is announced but not granted to the process.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(feats arch/x86/cpu-feats.cpp)
    set(feature_prefix GGML_)
    set(sse42 -msse4.2)
    set(avx2 ${sse42} -mavx -mf16c -mfma -mavx2 -mbmi2)
    set(avx512 ${avx2} -mavx512f -mavx512cd -mavx512vl -mavx512dq -mavx512bw)
    edgemoe_variant(sse42 "SSE42" "${sse42}")
    edgemoe_variant(haswell "SSE42 AVX F16C FMA AVX2 BMI2" "${avx2}")
    edgemoe_variant(alderlake "SSE42 AVX F16C FMA AVX2 BMI2 AVX_VNNI" "${avx2};-mavxvnni")
    edgemoe_variant(skylakex "SSE42 AVX F16C FMA AVX2 BMI2 AVX512" "${avx512}")
    edgemoe_variant(icelake "SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI" "${avx512};-mavx512vbmi;-mavx512vnni")
    edgemoe_variant(zen4 "SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16"
                    "${avx512};-mavx512vbmi;-mavx512vnni;-mavx512bf16")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(feats arch/arm/cpu-feats.cpp)
    set(feature_prefix GGML_USE_)
    edgemoe_variant(armv8.0 "" "-march=armv8-a")
    edgemoe_variant(armv8.2 "DOTPROD FP16_VECTOR_ARITHMETIC" "-march=armv8.2-a+dotprod+fp16")
    edgemoe_variant(armv8.6 "DOTPROD FP16_VECTOR_ARITHMETIC MATMUL_INT8" "-march=armv8.2-a+dotprod+fp16+i8mm")
else()
    message(FATAL_ERROR "EDGEMOE_CPU_VARIANTS: there are variants for x86-64 and aarch64, not for ${CMAKE_SYSTEM_PROCESSOR}")
endif()
if(NOT CMAKE_OBJCOPY OR NOT CMAKE_OBJDUMP OR NOT CMAKE_NM)
    message(FATAL_ERROR "EDGEMOE_CPU_VARIANTS needs nm, objcopy and objdump (binutils)")
endif()
find_program(EDGEMOE_LINKER NAMES ${CMAKE_LINKER} ${CMAKE_C_COMPILER_TARGET}-ld ld REQUIRED DOC "GNU ld, for EDGEMOE_CPU_VARIANTS")

# edgemoe_compile_variants(<name> <source>): makes ggml-cpu the library of all variants: of itself, of the object library <name>-<variant>
# for each variant, which gets the variant's flags here, and of <source>, which makes the choice.
function(edgemoe_compile_variants name selection_source)
    set(ggml_source ${EDGEMOE_LLAMA_CPP_SOURCE}/ggml/src)
    set(work ${CMAKE_BINARY_DIR}/cpu)
    file(MAKE_DIRECTORY ${work})
    get_target_property(sources ggml-cpu SOURCES)
    get_target_property(directory ggml-cpu SOURCE_DIR)
    get_target_property(own_definitions ggml-cpu COMPILE_DEFINITIONS)
    get_directory_property(definitions DIRECTORY ${directory} COMPILE_DEFINITIONS)
    list(APPEND definitions ${own_definitions})
    list(FILTER definitions EXCLUDE REGEX "^GGML_(SSE42|AVX|F16C|FMA|BMI2)")  # each variant has its own
    list(FILTER sources EXCLUDE REGEX "\\.h$")
    list(TRANSFORM sources PREPEND ${directory}/)

    set(objects "")
    set(symbols "")
    set(scores "")
    set(named "")
    foreach(variant ${EDGEMOE_CPU_VARIANT_NAMES})
        add_library(ggml-cpu-${variant} OBJECT EXCLUDE_FROM_ALL ${sources})
        foreach(property INCLUDE_DIRECTORIES COMPILE_FEATURES C_STANDARD CXX_STANDARD)
            get_target_property(value ggml-cpu ${property})
            if(value)
                set_target_properties(ggml-cpu-${variant} PROPERTIES ${property} "${value}")
            endif()
        endforeach()
        string(REPLACE " " ";" features "${EDGEMOE_CPU_FEATURES_${variant}}")
        list(TRANSFORM features PREPEND ${feature_prefix})
        target_compile_definitions(ggml-cpu-${variant} PRIVATE ${definitions} ${features})
        target_link_libraries(ggml-cpu-${variant} PRIVATE ggml-base)
        # Unique symbols would stay global.
        set(flags ${EDGEMOE_CPU_FLAGS_${variant}} -fno-lto $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>)
        target_compile_options(ggml-cpu-${variant} PRIVATE ${flags} -w)  # warnings of llama.cpp are not ours
        target_compile_options(${name}-${variant} PRIVATE ${flags})

        add_custom_command(
            OUTPUT ${work}/${variant}.o ${work}/${variant}.symbols
            COMMAND ${EDGEMOE_LINKER} -r --force-group-allocation -o ${work}/${variant}.whole.o
                    $<TARGET_OBJECTS:ggml-cpu-${variant}> $<TARGET_OBJECTS:${name}-${variant}>
            COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DOBJCOPY=${CMAKE_OBJCOPY} -DOBJDUMP=${CMAKE_OBJDUMP} -DVARIANT=${variant}
                    -DHEADER=${ggml_source}/../include/ggml-cpu.h -DWORK=${work} -P ${PROJECT_SOURCE_DIR}/cmake/localise_variant.cmake
            DEPENDS $<TARGET_OBJECTS:ggml-cpu-${variant}> $<TARGET_OBJECTS:${name}-${variant}>
                    ${PROJECT_SOURCE_DIR}/cmake/localise_variant.cmake
            COMMENT "Kernels for ${variant}" COMMAND_EXPAND_LISTS VERBATIM)
        list(APPEND objects ${work}/${variant}.o)
        list(APPEND symbols ${work}/${variant}.symbols)

        # Asks the processor; compiled without its features.
        string(MAKE_C_IDENTIFIER ${variant} identifier)
        add_library(ggml-cpu-${variant}-score OBJECT ${ggml_source}/ggml-cpu/${feats})
        target_include_directories(ggml-cpu-${variant}-score PRIVATE ${ggml_source} ${ggml_source}/../include)
        target_compile_definitions(ggml-cpu-${variant}-score PRIVATE ${features} GGML_BACKEND_DL
                                                                     ggml_backend_score=edgemoe_cpu_score_${identifier})
        target_compile_options(ggml-cpu-${variant}-score PRIVATE -w -fno-lto)
        list(APPEND scores $<TARGET_OBJECTS:ggml-cpu-${variant}-score>)
        list(APPEND named "${variant}=${EDGEMOE_CPU_FEATURES_${variant}}")
    endforeach()

    string(REPLACE ";" "|" named "${named}")
    add_custom_command(
        OUTPUT ${work}/cpu_variant_table.S
        COMMAND ${CMAKE_COMMAND} "-DVARIANTS=${named}" -DPROCESSOR=${CMAKE_SYSTEM_PROCESSOR} -DWORK=${work}
                -P ${PROJECT_SOURCE_DIR}/cmake/write_variant_table.cmake
        DEPENDS ${symbols} ${PROJECT_SOURCE_DIR}/cmake/write_variant_table.cmake
        VERBATIM)
    add_library(edgemoe_cpu_table OBJECT ${work}/cpu_variant_table.S ${selection_source})
    target_include_directories(edgemoe_cpu_table PRIVATE ${PROJECT_SOURCE_DIR}/cpp/src)
    target_link_libraries(edgemoe_cpu_table PRIVATE edgemoe_flags)
    add_custom_target(edgemoe_cpu_objects DEPENDS ${objects})

    set_target_properties(ggml-cpu PROPERTIES SOURCES "" COMPILE_OPTIONS "" LINKER_LANGUAGE CXX)
    set_source_files_properties(${objects} TARGET_DIRECTORY ggml-cpu PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    target_sources(ggml-cpu PRIVATE ${objects} ${scores} $<TARGET_OBJECTS:edgemoe_cpu_table>)
    add_dependencies(ggml-cpu edgemoe_cpu_objects)
endfunction()
