# Makes a key, certifies, signs, verifies and encrypts with it; prints only what does not depend on chance.
set -eu

for ((turn = 1; turn <= SCALE; turn++)); do
	openssl genrsa -out key.pem 2048 2>/dev/null
	openssl rsa -in key.pem -check -noout
	openssl rsa -in key.pem -pubout -out public.pem 2>/dev/null
	echo "turn $turn" >message
	openssl dgst -sha256 -sign key.pem -out signature message
	openssl dgst -sha256 -verify public.pem -signature signature message
	openssl req -x509 -new -key key.pem -subj /CN=limosa -days 1 -out certificate.pem
	openssl verify -CAfile certificate.pem certificate.pem
	openssl enc -aes-256-cbc -pbkdf2 -pass pass:word -in message -out secret
	openssl enc -d -aes-256-cbc -pbkdf2 -pass pass:word -in secret
	rm key.pem public.pem signature certificate.pem secret
done
