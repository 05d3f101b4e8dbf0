# Prints a C++ program of about `lines` lines: templates, classes with virtual functions, containers, lambdas.
# Usage: awk -v lines=20000 -f generate_cpp.awk
BEGIN {
	print "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <memory>\n#include <numeric>\n#include <string>\n#include <vector>"
	print "struct Shape { virtual ~Shape() = default; virtual unsigned long area() const = 0; };"
	print "template <typename Number, int Factor> Number scaled(Number value) { return value * Factor + 1; }"
	count = int(lines / 100)
	for (number = 0; number < count; number++) {
		printf "class Shape%d final : public Shape {\n", number
		print "public:"
		printf "\texplicit Shape%d(unsigned side) : side_(side) {\n", number
		printf "\t\tfor (unsigned corner = 0; corner < %d; corner++)\n", number % 5 + 3
		print "\t\t\tcorners_.push_back(corner * side_);"
		print "\t}"
		print "\tunsigned long area() const override {"
		printf "\t\tauto weigh = [this](unsigned long sum, unsigned corner) {\n"
		printf "\t\t\treturn sum + scaled<unsigned long, %d>(corner ^ side_);\n", number % 17 + 1
		print "\t\t};"
		print "\t\treturn mix(std::accumulate(corners_.begin(), corners_.end(), 0ul, weigh));"
		print "\t}"
		print ""
		print "\tunsigned long mix(unsigned long seed) const {"
		print "\t\tswitch (seed % 36) {"
		for (turn = 0; turn < 36; turn++)
			printf "\t\tcase %d:\n\t\t\treturn seed * %d + (side_ << %d);\n", turn, number + turn * 2 + 1, turn % 7
		print "\t\t}\n\t\treturn seed;\n\t}"
		print ""
		print "private:"
		print "\tunsigned side_;"
		print "\tstd::vector<unsigned> corners_;"
		print "};"
		print ""
	}
	# One function for all of them would keep the compiler's exception tables busy for minutes.
	print "using Shapes = std::map<std::string, std::unique_ptr<Shape>>;"
	for (number = 0; number < count; number++) {
		if (number % 20 == 0)
			printf "static void add_from_%d(Shapes &shapes) {\n", number
		printf "\tshapes[\"%d\"] = std::make_unique<Shape%d>(%d);\n", number, number, number + 1
		if (number % 20 == 19 || number == count - 1)
			print "}"
	}
	print "int main() {\n\tShapes shapes;"
	for (number = 0; number < count; number += 20)
		printf "\tadd_from_%d(shapes);\n", number
	print "\tunsigned long sum = 0;\n\tfor (const auto &[name, shape] : shapes)\n\t\tsum = sum * 31 + shape->area() + name.size();"
	print "\tstd::cout << sum << '\\n';\n}"
}
