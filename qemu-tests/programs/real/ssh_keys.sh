# Makes keys of all kinds, signs and verifies with them; prints only what does not depend on chance.
set -eu

for ((turn = 1; turn <= SCALE; turn++)); do
	for kind in ed25519 ecdsa rsa; do
		ssh-keygen -q -t "$kind" -N "phrase $turn" -C limosa -f key
		ssh-keygen -y -P "phrase $turn" -f key | cut -d ' ' -f 2 | cmp - <(cut -d ' ' -f 2 key.pub) && echo "$kind fits"
		ssh-keygen -q -p -P "phrase $turn" -N '' -f key
		echo "turn $turn" >message
		ssh-keygen -q -Y sign -f key -n file message 2>/dev/null
		echo "limosa $(cat key.pub)" >signers
		ssh-keygen -Y verify -f signers -I limosa -n file -s message.sig <message | sed 's/ key .*//'
		ssh-keygen -l -f key.pub | awk '{ print $1, $3, $4 }'
		rm key key.pub message message.sig signers
	done
done
