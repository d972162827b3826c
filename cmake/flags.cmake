# One private target with the project's warnings and sanitizers; llama.cpp is built without them.
option(EDGEMOE_WARNINGS_AS_ERRORS "Treat warnings in the project's own code as errors" ON)
set(EDGEMOE_SANITIZE "" CACHE STRING "Sanitizers for the project's own code: address,undefined or thread")

add_library(edgemoe_flags INTERFACE)
target_compile_features(edgemoe_flags INTERFACE cxx_std_17)
target_compile_options(edgemoe_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
if(EDGEMOE_WARNINGS_AS_ERRORS)
    target_compile_options(edgemoe_flags INTERFACE -Werror)
endif()
if(EDGEMOE_SANITIZE)
    target_compile_options(edgemoe_flags INTERFACE -fsanitize=${EDGEMOE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(edgemoe_flags INTERFACE -fsanitize=${EDGEMOE_SANITIZE})
endif()
