# Makes a repository with a history: repository.sh COMMITS DIRECTORY
set -eu
source "$PROGRAMS/git_identity.sh"

git init --quiet --initial-branch=main "$2"
cd "$2"
# Who is cloned from does not hear of our environment, and threads choose differences by chance.
git config pack.threads 1
for ((commit = 1; commit <= $1; commit++)); do
	mkdir -p "folder$((commit % 5))"
	seq "$commit" $((commit * 40)) >"folder$((commit % 5))/$commit.txt"
	echo "line $commit" >>log.txt
	git add .
	git commit --quiet --message "Commit $commit"
	if ((commit % 10 == 5)); then
		git tag "v$commit"
		git branch "side$commit"
	fi
done
