# Makes a project of a library and a program for CMake.
set -eu
cat >CMakeLists.txt <<-'END'
	cmake_minimum_required(VERSION 3.18)
	project(limosa CXX)
	include(CheckIncludeFileCXX)
	check_include_file_cxx(vector HAVE_VECTOR)
	file(GLOB parts ${CMAKE_SOURCE_DIR}/part*.cc)
	add_library(parts STATIC ${parts})
	add_executable(program main.cc)
	target_link_libraries(program parts)
	add_custom_command(OUTPUT list.txt COMMAND sh -c "ls ${CMAKE_SOURCE_DIR}/*.cc > list.txt" VERBATIM)
	add_custom_target(list ALL DEPENDS list.txt)
END
for number in 1 2 3 4 5 6; do
	echo "#include <string>
std::string part$number(int times) { std::string text; while (times--) text += std::to_string(times * $number); return text; }" >part$number.cc
done
cat >main.cc <<-'END'
	#include <iostream>
	#include <string>
	std::string part1(int), part2(int), part3(int), part4(int), part5(int), part6(int);
	int main() { std::cout << part1(3) + part2(4) + part3(5) + part4(6) + part5(7) + part6(8) << '\n'; }
END
