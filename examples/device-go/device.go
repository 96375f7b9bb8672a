// A whole device over gRPC: it enrols, holds the heartbeat stream with a backlog, asks when it is told to, downloads with resume,
// verifies the signed manifest, installs, reports, and proves the update by its heartbeats after the next start. From outside: SERVICE
// (host:port), ENROLMENT_KEY, SERIAL_NUMBER, DEVICE_TYPE, HARDWARE_MODEL, PRODUCT, TRUSTED_KEY (a public key, PEM), INSTALL_HOOK, and
// STATE_DIR, which survives reboots and holds the `version` that runs. `./build OUT` builds OUT/device.
// `device verify MANIFEST SIGNATURE…` only says of files, two by two, whether it believes them.

package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"time"

	otav1 "deviceota/ota/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

var (
	running string                   // the version
	bootID  = uuid()                 // one a start of this program; a real device has /proc/sys/kernel/random/boot_id
	started = time.Now()             // by the clock that does not jump
	asked   = make(chan struct{}, 1) // the service has an update to check for
)

func main() {
	if len(os.Args) > 3 && os.Args[1] == "verify" {
		verifyFiles(os.Args[2:])
		return
	}
	rand.Seed(time.Now().UnixNano())
	recall()
	// With TLS: grpc.WithTransportCredentials. The keepalive finds out that a network is gone, which TCP does not tell.
	connection, err := grpc.Dial(told("SERVICE"), grpc.WithInsecure(), grpc.WithPerRPCCredentials(bearer{}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for memory.Token == "" {
		if err := enrol(otav1.NewDeviceServiceClient(connection)); err != nil {
			say("cannot enrol yet: %s", status.Convert(err).Message())
			time.Sleep(5 * time.Second)
		}
	}
	say("runs %s", running)
	heartbeats, updates := otav1.NewHeartbeatServiceClient(connection), otav1.NewUpdateServiceClient(connection)
	go forEver(func() error { return holdStream(heartbeats) })
	forEver(func() error { return check(updates) })
}

func say(format string, values ...interface{}) {
	fmt.Printf("%s (go): %s\n", told("SERIAL_NUMBER"), fmt.Sprintf(format, values...))
}

// told is what the environment tells this device.
func told(name string) string {
	value, isSet := os.LookupEnv(name)
	if !isSet {
		fmt.Fprintln(os.Stderr, name, "is not set")
		os.Exit(1)
	}
	return value
}

// bearer shows the token with each call, once there is one.
type bearer struct{}

func (bearer) RequireTransportSecurity() bool { return false } // true with TLS
func (bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if memory.Token == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + memory.Token}, nil
}

func enrol(devices otav1.DeviceServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// The same request id at each try: if the answer was lost, the next one brings the same device.
	answer, err := devices.EnrolDevice(ctx, &otav1.EnrolDeviceRequest{RequestId: memory.Request, EnrolmentKey: told("ENROLMENT_KEY"),
		SerialNumber: told("SERIAL_NUMBER"), DeviceType: told("DEVICE_TYPE"), HardwareModel: told("HARDWARE_MODEL"), FirmwareVersion: running})
	if err == nil {
		keep(func() { memory.Token, memory.ID, memory.Epoch = answer.DeviceToken, answer.Device.Id, answer.Epoch })
		say("enrolled")
	}
	return err
}

func portion(of time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(of)) }

// forEver acts again and again, with a wait at random that grows with failures. A credential that counts for nothing ends the device:
// nobody but an operator can help it.
func forEver(act func() error) {
	for limit := time.Second; ; {
		before, err := time.Now(), act()
		if err != nil {
			say("%s: %s", status.Code(err), status.Convert(err).Message())
		}
		if status.Code(err) == codes.Unauthenticated {
			os.Exit(1)
		}
		if limit *= 2; err == nil || time.Since(before) > time.Minute {
			limit = time.Second
		} else if limit > time.Minute {
			limit = time.Minute
		}
		time.Sleep(portion(limit))
	}
}
