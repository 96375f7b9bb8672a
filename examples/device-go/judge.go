// Whether a manifest is for this device: what it says against what the device is, runs and remembers.

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	otav1 "deviceota/ota/v1"
)

// believed gives the manifest of an offer for this device. The signature comes first; then nothing but what was signed counts.
func believed(offer *otav1.Offer) (*manifest, error) {
	isTrusted := false
	for _, each := range offer.Signatures {
		isTrusted = isTrusted || isSigned(offer.Manifest, each.Signature, told("TRUSTED_KEY"))
	}
	if !isTrusted {
		return nil, refusal("SIGNATURE_INVALID")
	}
	signed, err := read(offer.Manifest)
	if err != nil {
		return nil, err
	}
	expires, err := time.Parse(time.RFC3339, signed.Expires)
	// Back only to what ran here before, or to what the signers let it go back to.
	mayGoBack := has(memory.Ran, signed.Version) || signed.DowngradeFrom != "" && compare(running, signed.DowngradeFrom) <= 0
	for _, check := range []struct {
		reason  refusal
		isWrong bool
	}{
		{"FIRMWARE_EXPIRED", err == nil && !time.Now().Before(expires)},
		{"MANIFEST_MISMATCH", signed.Version != offer.Version || signed.SHA256 != offer.Sha256 || signed.SizeBytes != offer.SizeBytes},
		{"WRONG_PRODUCT", signed.Product != told("PRODUCT")},
		{"WRONG_DEVICE_TYPE", !has(signed.DeviceTypes, told("DEVICE_TYPE"))},
		{"WRONG_HARDWARE_MODEL", len(signed.HardwareModels) > 0 && !has(signed.HardwareModels, told("HARDWARE_MODEL"))},
		{"VERSION_TOO_OLD", signed.MinCurrentVersion != "" && compare(running, signed.MinCurrentVersion) < 0},
		{"SECURITY_COUNTER_TOO_LOW", signed.SecurityCounter < memory.Counter},
		{"DOWNGRADE_REFUSED", compare(signed.Version, running) < 0 && !mayGoBack},
	} {
		if check.isWrong {
			return nil, check.reason
		}
	}
	return signed, nil
}

func has(list []string, text string) bool {
	for _, each := range list {
		if each == text {
			return true
		}
	}
	return false
}

// compare is below 0, 0 or above 0, by the precedence of semantic versions: numbers by value and before texts, a pre-release before its release.
func compare(a, b string) int {
	coreA, preA, isPreA := strings.Cut(a, "-")
	coreB, preB, isPreB := strings.Cut(b, "-")
	if order := compareParts(coreA, coreB); order != 0 || !isPreA && !isPreB {
		return order
	}
	if isPreA != isPreB {
		return sign(isPreB, isPreA)
	}
	return compareParts(preA, preB)
}

func compareParts(a, b string) int {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(left) && i < len(right); i++ {
		x, notX := strconv.ParseUint(left[i], 10, 64)
		y, notY := strconv.ParseUint(right[i], 10, 64)
		switch {
		case left[i] == right[i]:
		case notX == nil && notY == nil:
			return sign(x > y, x < y)
		case notX == nil || notY == nil:
			return sign(notX != nil, notY != nil)
		default:
			return strings.Compare(left[i], right[i])
		}
	}
	return sign(len(left) > len(right), len(left) < len(right))
}

func sign(isAbove, isBelow bool) int {
	if isAbove {
		return 1
	} else if isBelow {
		return -1
	}
	return 0
}

// verifyFiles says of each manifest with the signature behind it whether they are believed.
func verifyFiles(paths []string) {
	for i := 0; i+1 < len(paths); i += 2 {
		content, _ := os.ReadFile(paths[i])
		signature, _ := os.ReadFile(paths[i+1])
		if !isSigned(content, signature, told("TRUSTED_KEY")) {
			fmt.Println("SIGNATURE_INVALID")
		} else if _, err := read(content); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("believed")
		}
	}
}
