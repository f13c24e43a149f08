# How nvbandwidth is built: its own sources, without asking the machine which cards it has, and with the toolkit's stubs
# in the place of the driver's libraries.
cmake_minimum_required(VERSION 3.22) # not 3.25: that asks for nvToolsExt, which CUDA 13 has no more
project(nvbandwidth LANGUAGES CXX CUDA)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CUDA_STANDARD 17)
set(Boost_USE_STATIC_LIBS ON)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

file(GLOB sources *.cpp *.cu json/*.cpp)
add_executable(nvbandwidth ${sources})
target_include_directories(nvbandwidth PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_definitions(nvbandwidth PRIVATE GIT_VERSION="v${PROGRAM_VERSION}")
target_link_libraries(nvbandwidth PRIVATE Boost::program_options CUDA::nvml CUDA::cuda_driver)
