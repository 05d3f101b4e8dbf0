# Clones, branches, merges, rebases, packs and checks a repository; prints names of commits, which are hashes of all.
set -eu -o pipefail
source "$PROGRAMS/git_identity.sh"

git clone --quiet --no-local origin copy 2>&1
cd copy
for ((turn = 1; turn <= SCALE; turn++)); do
	git checkout --quiet -b "work$turn" "$(git rev-list --reverse main | sed -n "$((turn + 3))p")"
	echo "work $turn" >"work$turn.txt"
	git add .
	git commit --quiet --message "Work $turn"
	git rebase --quiet main
	git checkout --quiet main
	git merge --quiet --no-ff --message "Merge $turn" "work$turn"
	git log -1 --format='%H %s'
	git diff --stat HEAD~2 | tail -n 1
	git blame log.txt | cksum
done
git repack -a -d --quiet
git fsck --strict
git status --short
git push --quiet origin main:pushed
git -C ../origin rev-parse pushed
# The index has times and inode numbers in it, and the log of references names them, too.
rm -r .git/index ../origin/.git/index
