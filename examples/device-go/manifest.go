// What a device believes, in the order of docs/device-protocol.md: who signed the exact bytes, the strict form, then what they say.

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// refusal says why a manifest or what it is of is not taken, as a code.
type refusal string

func (code refusal) Error() string { return string(code) }

type manifest struct {
	Product           string   `json:"product"`
	Version           string   `json:"version"`
	SecurityCounter   uint64   `json:"security_counter"`
	SHA256            string   `json:"sha256"`
	SizeBytes         uint64   `json:"size_bytes"`
	DeviceTypes       []string `json:"device_types"`
	HardwareModels    []string `json:"hardware_models"`
	MinCurrentVersion string   `json:"min_current_version"`
	DowngradeFrom     string   `json:"downgrade_from"`
	Expires           string   `json:"expires"`
}

// isSigned says whether the key in a PEM file signed exactly these bytes: by Ed25519, ECDSA (DER) or RSA-PSS, as the key is.
func isSigned(content, signature []byte, keyFile string) bool {
	text, _ := os.ReadFile(keyFile)
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	parsed, _ := x509.ParsePKIXPublicKey(block.Bytes)
	digest := sha256.Sum256(content)
	switch key := parsed.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, content, signature)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest[:], signature)
	case *rsa.PublicKey:
		return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
	}
	return false
}

const version = `(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?`
const moment = `"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"`
const texts = `"[^"]+"(,"[^"]+"){0,99}`

// forms has the members and the forms of their values. This device has no applications, and so it knows no `kind`.
var forms = map[string]string{"type": `"ota\.v1\.firmware-manifest"`, "product": `"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"`, "version": `"` + version + `"`,
	"security_counter": `0|[1-9]\d*`, "security_fix": `true|false`, "sha256": `"[0-9a-f]{64}"`, "size_bytes": `[1-9]\d*`,
	"device_types": `\[` + texts + `\]`, "hardware_models": `\[(` + texts + `)?\]`, "min_current_version": `"(` + version + `)?"`,
	"downgrade_from": `"` + version + `"`, "created": moment, "expires": moment + `|null`}

const wrong = refusal("INVALID_MANIFEST")

// read gives the manifest in these bytes, if they are exactly as the protocol wants them.
func read(content []byte) (*manifest, error) {
	var members map[string]json.RawMessage
	if len(content) > 65536 || !utf8.Valid(content) || bytes.ContainsRune(content, '\\') ||
		once(json.NewDecoder(bytes.NewReader(content))) != nil || json.Unmarshal(content, &members) != nil {
		return nil, wrong
	}
	for name := range forms {
		if members[name] == nil && name != "downgrade_from" {
			return nil, wrong
		}
	}
	for name, value := range members {
		var text bytes.Buffer
		json.Compact(&text, value)
		form, isKnown := forms[name]
		// A member that it does not know may be a restriction that it would overlook.
		if !isKnown && !strings.HasPrefix(name, "info_") || isKnown && !regexp.MustCompile("^("+form+")$").Match(text.Bytes()) {
			return nil, wrong
		}
	}
	var parsed manifest
	err := json.Unmarshal(content, &parsed)
	created, _ := strconv.Unquote(string(members["created"]))
	for _, text := range []string{created, parsed.Expires} {
		if _, unknown := time.Parse(time.RFC3339, text); unknown != nil && text != "" {
			return nil, wrong // there is no such day
		}
	}
	if err != nil || parsed.SecurityCounter > 1<<31-1 || parsed.SizeBytes > 1<<53-1 || hasDouble(parsed.DeviceTypes) || hasDouble(parsed.HardwareModels) {
		return nil, wrong
	}
	return &parsed, nil
}

// once reads a value, in which no name may stand twice in an object, at any depth.
func once(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') && token != json.Delim('[') {
		return err
	}
	names := map[json.Token]bool{}
	for decoder.More() {
		if token == json.Delim('{') {
			name, err := decoder.Token()
			if err != nil || names[name] {
				return wrong
			}
			names[name] = true
		}
		if err := once(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

func hasDouble(list []string) bool {
	seen := map[string]bool{}
	for _, text := range list {
		seen[text] = true
	}
	return len(seen) < len(list)
}
