# Searches, sorts, joins and adds up files by the tools that shells are made for.
set -eu -o pipefail

for ((turn = 1; turn <= SCALE; turn++)); do
	find tree -type f -name '*.txt' -print0 | sort -z | xargs -0 -n 7 -P 2 wc -l | awk '{ sum += $1 } END { print sum }'
	find tree -type f | xargs md5sum | sort -k 2 | awk '{ print $1 }' | uniq | cksum
	find tree -name '*.txt' -exec cat {} + | sort -n -r | uniq -c | sort -k 1,1nr -k 2,2n | sed -n 1,5p
	awk '{ seen[$1 % 97] += NR } END { for (rest = 0; rest < 97; rest++) print rest, seen[rest] }' tree/*/*.txt >sums
	sort -k 1,1 sums | join - <(sort -k 1,1 sums | tr '0-9' '9876543210' | sort -k 1,1) | cksum
	find tree -type f ! -newer tree/empty -size +8k | sort | sed -n '1~11p' | paste -s -d ' '
	grep -r -l -w "$((turn * 100))" tree | LC_ALL=C sort | tail -n 3
	tr -s '0-5' <tree/1/1.txt | cut -c 1-2 | sort -u | comm -12 - <(seq 10 99 | sort) | wc -l
done
