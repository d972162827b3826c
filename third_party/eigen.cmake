# Eigen: found in EDGEMOE_EIGEN_DIR, or fetched once, by version and hash (fetch.cmake). Headers only.
# Defines the target edgemoe_eigen.

set(EDGEMOE_EIGEN_DIR "" CACHE PATH "Folder that holds Eigen/Dense, to use instead of the pinned one")

if(EDGEMOE_EIGEN_DIR)
    set(eigen_headers ${EDGEMOE_EIGEN_DIR})
else()
    edgemoe_fetch(eigen_tree cmeel-eigen ${CMAKE_CURRENT_SOURCE_DIR}/third_party/eigen.txt --only-binary :all:)
    set(eigen_headers ${eigen_tree}/cmeel.prefix/include/eigen3)
endif()
if(NOT EXISTS ${eigen_headers}/Eigen/Dense)
    message(FATAL_ERROR "${eigen_headers} does not hold Eigen's headers (Eigen/Dense is missing)")
endif()

add_library(edgemoe_eigen INTERFACE)
target_include_directories(edgemoe_eigen SYSTEM INTERFACE ${eigen_headers})
# Threads are the project's own; nothing of Eigen under another licence than MPL 2.0.
target_compile_definitions(edgemoe_eigen INTERFACE EIGEN_DONT_PARALLELIZE EIGEN_MPL2_ONLY)
