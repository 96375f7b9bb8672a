// What survives a reboot: one JSON object in one file.

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"

	otav1 "deviceota/ota/v1"

	"google.golang.org/protobuf/proto"
)

var (
	lock   sync.Mutex
	memory struct {
		Request, ID, Token string
		Epoch              uint32
		Sequence, Counter  uint64
		Ran                []string
		Backlog            [][]byte // heartbeats as they are sent, oldest first
		Installed          string
		InstalledCounter   uint64
	}
)

// keep changes the memory and writes it, whole or not at all, also when the power goes.
func keep(change func()) {
	lock.Lock()
	defer lock.Unlock()
	change()
	path := inState("memory")
	text, err := json.Marshal(memory)
	if err == nil {
		err = writeThrough(path+".new", text)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		panic(err) // a device that cannot remember must not go on
	}
}

func writeThrough(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Sync()
}

// recall reads what survived, and which version runs.
func recall() {
	text, err := os.ReadFile(inState("version"))
	if err != nil {
		panic(err)
	}
	running = strings.TrimSpace(string(text))
	memory.Request = uuid()
	if kept, err := os.ReadFile(inState("memory")); err == nil {
		if err := json.Unmarshal(kept, &memory); err != nil {
			panic(err)
		}
	}
	keep(func() {
		if !has(memory.Ran, running) {
			memory.Ran = append(memory.Ran, running)
		}
		if memory.Installed == running { // what was installed is what runs, and was not let in with a lower counter
			memory.Counter = memory.InstalledCounter
		}
	})
}

// remember gives a heartbeat its number and puts it into the backlog, where the oldest gives way.
func remember(beat *otav1.Heartbeat) {
	keep(func() {
		memory.Sequence++
		beat.Sequence = memory.Sequence
		bytes, _ := proto.Marshal(beat)
		memory.Backlog = append(memory.Backlog, bytes)
		if len(memory.Backlog) > 1000 {
			memory.Backlog = memory.Backlog[1:]
		}
	})
}

// forget drops what the service has said to be durable.
func forget(through uint64) {
	keep(func() {
		for len(memory.Backlog) > 0 && heartbeat(memory.Backlog[0]).Sequence <= through {
			memory.Backlog = memory.Backlog[1:]
		}
	})
}

// unsent gives the oldest heartbeats behind a number, at most so many.
func unsent(behind uint64, most int) (batch []*otav1.Heartbeat) {
	lock.Lock()
	defer lock.Unlock()
	for _, bytes := range memory.Backlog {
		if one := heartbeat(bytes); one.Sequence > behind && len(batch) < most {
			batch = append(batch, one)
		}
	}
	return batch
}

func heartbeat(bytes []byte) *otav1.Heartbeat {
	one := &otav1.Heartbeat{}
	proto.Unmarshal(bytes, one)
	return one
}

func inState(name string) string { return filepath.Join(told("STATE_DIR"), name) }

func uuid() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/uuid")
	return strings.TrimSpace(string(text))
}
