# Prints a C++ program of about `lines` lines: templates, classes with virtual functions, containers, lambdas.
# Usage: awk -v lines=20000 -f generate_cpp.awk
BEGIN {
	print "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <memory>\n#include <numeric>\n#include <string>\n#include <vector>"
	print "struct Shape { virtual ~Shape() = default; virtual unsigned long area() const = 0; };"
	print "template <typename Number, int Factor> Number scaled(Number value) { return value * Factor + 1; }"
	count = int(lines / 20)
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
		print "\t\treturn std::accumulate(corners_.begin(), corners_.end(), 0ul, weigh);"
		print "\t}"
		print ""
		print "private:"
		print "\tunsigned side_;"
		print "\tstd::vector<unsigned> corners_;"
		print "};"
		print ""
	}
	print "int main() {\n\tstd::map<std::string, std::unique_ptr<Shape>> shapes;"
	for (number = 0; number < count; number++)
		printf "\tshapes[\"%d\"] = std::make_unique<Shape%d>(%d);\n", number, number, number + 1
	print "\tunsigned long sum = 0;\n\tfor (const auto &[name, shape] : shapes)\n\t\tsum = sum * 31 + shape->area() + name.size();"
	print "\tstd::cout << sum << '\\n';\n}"
}
