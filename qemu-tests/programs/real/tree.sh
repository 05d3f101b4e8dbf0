# Makes ./tree: folders of text files, links and an empty one: tree.sh FILES
for ((number = 0; number < $1; number++)); do
	folder=tree/$((number % 7))
	mkdir -p "$folder"
	seq "$number" $((number + 400 + number * 37 % 3000)) >"$folder/$number.txt"
done
ln -s ../0/0.txt tree/1/link
ln tree/0/0.txt tree/2/second-name
mkdir tree/empty
chmod 600 tree/0/0.txt
