// The heartbeat stream: beats, acknowledgements and directives.

package main

import (
	"context"
	"io"
	"time"

	otav1 "deviceota/ota/v1"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// holdStream beats until the stream breaks. Every heartbeat goes into the backlog first, and leaves it when the service has said that it
// is durable.
func holdStream(heartbeats otav1.HeartbeatServiceClient) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := heartbeats.StreamHeartbeats(ctx)
	if err != nil {
		return err
	}
	hello := &otav1.Hello{DeviceId: memory.ID, Epoch: memory.Epoch, BootId: bootID, LastSequence: memory.Sequence,
		FirmwareVersion: running, SecurityCounter: memory.Counter}
	stream.Send(&otav1.StreamHeartbeatsRequest{Message: &otav1.StreamHeartbeatsRequest_Hello{Hello: hello}})
	first, err := stream.Recv() // what failed to be sent is told here
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- listen(stream) }()
	welcome, sent := first.GetWelcome(), uint64(0)
	for {
		remember(&otav1.Heartbeat{DeviceTime: timestamppb.Now(), FirmwareVersion: running, BootId: bootID, Uptime: durationpb.New(time.Since(started))})
		batch := unsent(sent, int(welcome.GetMaxBatchSize()))
		if len(batch) > 0 {
			stream.Send(&otav1.StreamHeartbeatsRequest{Message: &otav1.StreamHeartbeatsRequest_Batch{Batch: &otav1.HeartbeatBatch{Heartbeats: batch}}})
			sent = batch[len(batch)-1].Sequence
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(welcome.GetHeartbeatInterval().AsDuration() + portion(welcome.GetHeartbeatJitter().AsDuration())):
		}
	}
}

func listen(stream otav1.HeartbeatService_StreamHeartbeatsClient) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return nil // in order: the service restarts, or sends the device elsewhere
		} else if err != nil {
			return err
		}
		if ack := message.GetAck(); ack != nil {
			forget(ack.AckedThrough)
		}
		if message.GetDirective().GetUpdateAvailable() != nil {
			select {
			case asked <- struct{}{}:
			default: // it is asked for already
			}
		}
	}
}
