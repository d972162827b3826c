# llama.cpp: found in EDGEMOE_LLAMA_CPP_DIR, or fetched once, by version and hash (fetch.cmake).
# Defines the targets llama and ggml (static, position independent, hidden) and EDGEMOE_LLAMA_CPP_SOURCE.

set(EDGEMOE_LLAMA_CPP_DIR "" CACHE PATH "Local llama.cpp source tree to use instead of the pinned one")

if(EDGEMOE_LLAMA_CPP_DIR)
    set(EDGEMOE_LLAMA_CPP_SOURCE ${EDGEMOE_LLAMA_CPP_DIR})
else()
    # Without build isolation, pip needs scikit-build-core to read the archive's metadata.
    edgemoe_fetch(llama_cpp_tree llama-cpp-python ${CMAKE_CURRENT_SOURCE_DIR}/third_party/llama-cpp.txt
                  --no-build-isolation --no-binary llama-cpp-python)
    file(GLOB EDGEMOE_LLAMA_CPP_SOURCE ${llama_cpp_tree}/*/vendor/llama.cpp)
endif()
if(NOT EXISTS ${EDGEMOE_LLAMA_CPP_SOURCE}/include/llama.h)
    message(FATAL_ERROR "${EDGEMOE_LLAMA_CPP_SOURCE} is not a llama.cpp source tree (include/llama.h is missing)")
endif()

set(BUILD_SHARED_LIBS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

if(EDGEMOE_CPU_VARIANTS)
    set(GGML_NATIVE OFF CACHE BOOL "The variants have flags of their own" FORCE)
endif()
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
