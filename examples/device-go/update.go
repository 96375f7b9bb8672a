// From an offer to the reboot: verify, download, check, install; each step is reported.

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	otav1 "deviceota/ota/v1"
)

// check asks for an update, takes it as far as it goes, and waits until it is time to ask again.
func check(updates otav1.UpdateServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer, err := updates.CheckForUpdate(ctx, &otav1.CheckForUpdateRequest{FirmwareVersion: running, BootId: bootID, SecurityCounter: memory.Counter})
	if err != nil {
		return err
	}
	if offer := answer.GetOffer(); offer != nil {
		say("is offered %s", offer.Version)
		err := take(updates, offer)
		if reason, isRefused := err.(refusal); isRefused {
			_, err = report(updates, offer, otav1.DeviceUpdateState_DEVICE_UPDATE_STATE_FAILED, string(reason))
		}
		if err != nil {
			return err // it broke off: the next check brings the same offer, and it goes on
		}
	}
	select {
	case <-asked:
	case <-time.After(answer.GetRetryAfter().AsDuration()):
	}
	return nil
}

// take does not return from an update that succeeds. What it refuses is a refusal; anything else may be tried again.
func take(updates otav1.UpdateServiceClient, offer *otav1.Offer) error {
	signed, err := believed(offer)
	if err != nil {
		return err
	}
	if _, err := report(updates, offer, otav1.DeviceUpdateState_DEVICE_UPDATE_STATE_DOWNLOADING, ""); err != nil {
		return err
	}
	image, err := download(updates, offer, signed)
	if err != nil {
		return err
	}
	if _, err := report(updates, offer, otav1.DeviceUpdateState_DEVICE_UPDATE_STATE_DOWNLOADED, ""); err != nil {
		return err
	}
	state, err := report(updates, offer, otav1.DeviceUpdateState_DEVICE_UPDATE_STATE_INSTALLING, "")
	if err != nil || state >= otav1.DeviceUpdateState_DEVICE_UPDATE_STATE_SUCCEEDED {
		return err // the service is done with the update in the meantime
	}
	if exec.Command(told("INSTALL_HOOK"), "install", image, signed.Version).Run() != nil {
		return refusal("INSTALL_FAILED")
	}
	keep(func() { memory.Installed, memory.InstalledCounter = signed.Version, signed.SecurityCounter })
	os.Remove(image)
	report(updates, offer, otav1.DeviceUpdateState_DEVICE_UPDATE_STATE_REBOOTING, "") // its heartbeats tell it anyway
	if err := exec.Command(told("INSTALL_HOOK"), "reboot").Run(); err != nil {
		return err
	}
	say("reboots")
	os.Exit(0)
	return nil
}

func report(updates otav1.UpdateServiceClient, offer *otav1.Offer, state otav1.DeviceUpdateState, reason string) (otav1.DeviceUpdateState, error) {
	say("%s", strings.TrimSpace(state.String()[len("DEVICE_UPDATE_STATE_"):]+" "+reason))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer, err := updates.ReportUpdateStatus(ctx, &otav1.ReportUpdateStatusRequest{UpdateId: offer.UpdateId, State: state, FailureReason: reason})
	return answer.GetState(), err
}

// download goes on where the partial file ends, which has the name of the digest that it is to have: a break or a reboot costs nothing.
func download(updates otav1.UpdateServiceClient, offer *otav1.Offer, signed *manifest) (string, error) {
	path := inState("image-" + signed.SHA256)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer file.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, file)
	if err != nil {
		return "", err
	}
	if size > 0 {
		say("goes on at byte %d of %d", size, signed.SizeBytes)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := updates.DownloadFirmware(ctx, &otav1.DownloadFirmwareRequest{UpdateId: offer.UpdateId, Offset: uint64(size)})
	for err == nil && uint64(size) < signed.SizeBytes {
		var message *otav1.DownloadFirmwareResponse
		if message, err = stream.Recv(); err == nil {
			chunk := message.GetChunk()
			if chunk.GetCrc32C() != crc32.Checksum(chunk.GetData(), crc32.MakeTable(crc32.Castagnoli)) {
				return "", fmt.Errorf("a chunk at byte %d is damaged", size)
			}
			digest.Write(chunk.GetData())
			_, err = file.Write(chunk.GetData())
			size += int64(len(chunk.GetData()))
		}
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil && hex.EncodeToString(digest.Sum(nil)) != signed.SHA256 {
		os.Remove(path)
		return "", refusal("DIGEST_MISMATCH")
	}
	return path, err
}
