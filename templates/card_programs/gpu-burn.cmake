# How gpu-burn is built: what its Makefile does, without asking the machine which cards it has.
cmake_minimum_required(VERSION 3.22) # not 3.25: that asks for nvToolsExt, which CUDA 13 has no more
project(gpu_burn LANGUAGES CXX CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_executable(gpu_burn gpu_burn-drv.cpp)
target_link_libraries(gpu_burn PRIVATE CUDA::cublas CUDA::cuda_driver)

# The kernel that compares results: a file that gpu_burn loads by itself.
foreach(architecture IN LISTS CMAKE_CUDA_ARCHITECTURES)
  string(REPLACE "-real" "" number ${architecture})
  list(APPEND code -gencode=arch=compute_${number},code=sm_${number})
endforeach()
set(kernel ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/compare.fatbin)
add_custom_command(
  OUTPUT ${kernel}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}
  COMMAND ${CMAKE_CUDA_COMPILER} -ccbin ${CMAKE_CUDA_HOST_COMPILER} ${code} -fatbin ${CMAKE_SOURCE_DIR}/compare.cu -o ${kernel}
  DEPENDS compare.cu
  VERBATIM)
add_custom_target(compare.fatbin DEPENDS ${kernel})
