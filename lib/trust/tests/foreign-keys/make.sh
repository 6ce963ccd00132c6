#!/bin/sh
# Makes keys of the kinds that other repositories use, and signatures of each over one message. The secret halves are thrown
# away, so every run gives other files.
set -eu
cd "$(dirname "$0")"
secret=$(mktemp -d)
trap 'rm -rf "$secret"' EXIT
printf 'signed by a key of another kind' > message
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$secret/rsa"
openssl ecparam -name prime256v1 -genkey -noout -out "$secret/ec"
openssl ecparam -name secp384r1 -genkey -noout -out "$secret/p384"
for kind in rsa ec p384; do openssl pkey -in "$secret/$kind" -pubout -out "$kind.pub"; done
openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign "$secret/rsa" -out rsa.sig message
openssl dgst -sha256 -sign "$secret/rsa" -out rsa15.sig message
for kind in ec p384; do openssl dgst -sha256 -sign "$secret/$kind" -out "$kind.sig" message; done
