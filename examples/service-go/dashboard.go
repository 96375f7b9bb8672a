// An internal service over gRPC that calls as an operator: a dashboard for a terminal or a chat. It shows every rollout that is not over,
// then follows the feed of events, each once, and shows how the rollouts stand that something happened to. A restart or a broken
// connection loses and repeats nothing, because it keeps the cursor of what it has shown.
// From outside: SERVICE (host:port), TOKEN (a viewer's will do), and CURSOR_FILE. `./build OUT` builds OUT/dashboard.

package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strings"
	"time"

	otav1 "deviceota/ota/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

type bearer string

func (bearer) RequireTransportSecurity() bool { return false } // true with TLS
func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func main() {
	// With TLS: grpc.WithTransportCredentials. The keepalive finds out that a network is gone, which TCP does not tell.
	connection, err := grpc.Dial(os.Getenv("SERVICE"), grpc.WithInsecure(), grpc.WithPerRPCCredentials(bearer(os.Getenv("TOKEN"))),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	rollouts, alerts := otav1.NewRolloutServiceClient(connection), otav1.NewAlertServiceClient(connection)
	for wait := time.Second; ; {
		began := time.Now()
		err := showAll(rollouts)
		if err == nil {
			err = follow(alerts, rollouts)
		}
		switch code := status.Code(err); {
		case reason(err) == "CURSOR_EXPIRED": // it was away for longer than events are kept, and has shown what there is now
			os.Remove(os.Getenv("CURSOR_FILE"))
		case code == codes.Unauthenticated || code == codes.PermissionDenied || code == codes.InvalidArgument || code == codes.Unimplemented:
			fmt.Fprintln(os.Stderr, reason(err), err) // the same again would bring the same
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, "goes on soon:", err)
		if wait *= 2; time.Since(began) > time.Minute {
			wait = time.Second
		} else if wait > time.Minute {
			wait = time.Minute
		}
		time.Sleep(time.Duration(rand.Float64() * float64(wait)))
	}
}

// showAll shows the rollouts that are not over, page by page.
func showAll(rollouts otav1.RolloutServiceClient) error {
	request := &otav1.ListRolloutsRequest{States: []otav1.RolloutState{otav1.RolloutState_ROLLOUT_STATE_RUNNING,
		otav1.RolloutState_ROLLOUT_STATE_PAUSED, otav1.RolloutState_ROLLOUT_STATE_ROLLING_BACK}}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		page, err := rollouts.ListRollouts(ctx, request)
		cancel()
		if err != nil {
			return err
		}
		for _, each := range page.Rollouts {
			show(each)
		}
		if request.PageToken = page.NextPageToken; request.PageToken == "" {
			return nil
		}
	}
}

// follow shows events until the stream ends.
func follow(alerts otav1.AlertServiceClient, rollouts otav1.RolloutServiceClient) error {
	cursor, err := os.ReadFile(os.Getenv("CURSOR_FILE"))
	if err != nil {
		cursor = []byte("0") // from the oldest event that is kept
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := alerts.WatchEvents(ctx, &otav1.WatchEventsRequest{Cursor: string(cursor)})
	for err == nil {
		var message *otav1.WatchEventsResponse
		if message, err = stream.Recv(); err != nil {
			break
		}
		touched := map[string]bool{}
		for _, event := range message.Events {
			say("%s %s %s", event.Time.AsTime().Format(time.RFC3339), event.Type, event.Summary)
			touched[event.ResourceId] = touched[event.ResourceId] || event.ResourceType == "rollout"
		}
		for id, isRollout := range touched {
			if isRollout {
				answer, err := rollouts.GetRollout(ctx, &otav1.GetRolloutRequest{Id: id})
				if err != nil && status.Code(err) != codes.NotFound {
					return err
				}
				show(answer.GetRollout())
			}
		}
		err = keep(message.Cursor) // after they were shown: what is cut off here is shown again, and never left out
	}
	return err
}

func show(rollout *otav1.Rollout) {
	var rings []string
	for _, ring := range rollout.GetRings() {
		done := ring.GetCounters()
		rings = append(rings, fmt.Sprintf("%s %d of %d, %d failed", ring.Name, done.GetSucceeded(), done.GetOffered(), done.GetFailed()))
	}
	say("  %s %s (%s): %s", rollout.GetName(), strings.TrimPrefix(rollout.GetState().String(), "ROLLOUT_STATE_"),
		rollout.GetStateReason(), strings.Join(rings, "; "))
}

// say writes a line without what would steer a terminal: devices and other people have written parts of it.
func say(format string, values ...interface{}) {
	fmt.Println(regexp.MustCompile(`\p{C}`).ReplaceAllString(fmt.Sprintf(format, values...), ""))
}

func keep(cursor string) error {
	path := os.Getenv("CURSOR_FILE")
	if err := os.WriteFile(path+".new", []byte(cursor), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// reason is what went wrong as the service's errors say it for programs, for example CURSOR_EXPIRED.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, isInfo := detail.(*errdetails.ErrorInfo); isInfo {
			return info.Reason
		}
	}
	return ""
}
