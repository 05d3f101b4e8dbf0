# Prints a C program of about `lines` lines: functions that call earlier ones, structures, switches, loops.
# Usage: awk -v lines=20000 -f generate_c.awk
BEGIN {
	print "#include <stdint.h>"
	print "#include <stdio.h>"
	print "struct point { int32_t x, y; uint64_t weight; };"
	count = int(lines / 16)
	for (number = 0; number < count; number++) {
		printf "static uint64_t step_%d(uint64_t value, struct point *point)\n{\n", number
		printf "\tuint64_t sum = value ^ %du;\n", number * 2654435 % 1000003
		printf "\tfor (int turn = 0; turn < %d; turn++) {\n", number % 7 + 2
		print "\t\tswitch ((sum + turn) % 5) {"
		printf "\t\tcase 0: sum += point->x * %d; break;\n", number % 91
		printf "\t\tcase 1: sum ^= sum >> %d; break;\n", number % 31 + 1
		printf "\t\tcase 2: point->y += (int32_t)sum; break;\n"
		printf "\t\tdefault: sum = sum * 6364136223846793005u + %d;\n", number
		print "\t\t}"
		print "\t\tpoint->weight += sum & 255;"
		print "\t}"
		if (number > 0)
			printf "\treturn sum %% 3 ? sum : step_%d(sum >> 1, point);\n}\n\n", int(number / 2)
		else
			print "\treturn sum;\n}\n"
	}
	print "int main(void)\n{\n\tstruct point point = { 1, 2, 3 };\n\tuint64_t sum = 0;"
	for (number = 0; number < count; number += 10)
		printf "\tsum += step_%d(sum, &point);\n", number
	print "\tprintf(\"%llu %d %llu\\n\", (unsigned long long)sum, point.y, (unsigned long long)point.weight);\n\treturn 0;\n}"
}
