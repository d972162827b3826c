# 64-bit Android by the NDK: the NDK's own toolchain file, with what edgemoe needs. ANDROID_NDK is an environment variable: the NDK's folder.
set(ndk_toolchain $ENV{ANDROID_NDK}/build/cmake/android.toolchain.cmake)
if("$ENV{ANDROID_NDK}" STREQUAL "")
    message(FATAL_ERROR "The android preset needs the Android NDK (r25 or later): unpack it and set the environment variable "
                        "ANDROID_NDK to its folder. Without it, the preset aarch64-static makes a program that runs on Android (docs/phone.md)")
elseif(NOT EXISTS ${ndk_toolchain})
    message(FATAL_ERROR "ANDROID_NDK=$ENV{ANDROID_NDK} is not an NDK: build/cmake/android.toolchain.cmake is not in it")
endif()
set(ANDROID_ABI arm64-v8a CACHE STRING "")
set(ANDROID_PLATFORM android-30 CACHE STRING "")  # the least that has mlock2
set(ANDROID_STL c++_static CACHE STRING "")
include(${ndk_toolchain})
