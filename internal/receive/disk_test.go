package receive_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/restart"
)

// small mounts a file system of a few pages, for root.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Skipf("NOT TESTED: a tmpfs can't be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room, and gives what makes it again.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "filling")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for {
		if _, err := f.Write(page); err != nil {
			break
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk: nothing is acknowledged that is not stored, what was stored
// stays, and with room the chain goes on without a gap.
func TestFullDisk(t *testing.T) {
	dir := small(t, "128k")
	folder := filepath.Join(dir, "trails")
	s := open(t, folder)
	records := first(400)
	answered := 0
	for ; answered < len(records); answered += 5 {
		head, err := s.Take(source, lines(records[answered:answered+5]...))
		if err == nil {
			continue
		}
		if restart.CodeOf(err) != restart.CodeDiskFull || head.Seq != int64(answered) {
			t.Fatalf("behind %d: %+v, %v", answered, head, err)
		}
		break
	}
	if answered == 0 || answered == len(records) {
		t.Fatalf("%d were stored", answered)
	}
	// Whatever can't be stored is refused all the same, and said.
	if _, err := s.Take(source, []byte("junk\n")); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("%v", err)
	}
	whole(t, folder, records[answered-1].Head())
	s.Close()
	s = open(t, folder) // the disk is as full as before
	if head, err := s.Take(source, lines(records[:3]...)); err != nil || head.Seq != int64(answered) {
		t.Errorf("%+v, %v", head, err)
	}
	s.Close()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	s = open(t, folder)
	take(t, s, records[max(answered-20, 0):]...)
	whole(t, folder, headOf(records))
	s.Close() // or else the file system is busy
}

// A receiver whose disk is full refuses, says so, and goes on by itself once
// there is room.
func TestAReceiverWithAFullDisk(t *testing.T) {
	dir := small(t, "2m")
	r := process(t, fmt.Sprintf("folder: %s\nkeep_free_mb: 1\n", filepath.Join(dir, "trails")), source)
	r.Start()
	t.Cleanup(r.Kill)
	sink := sinkTo(t, r, source)
	records := first(30)
	if err := sink.Send(t.Context(), records[:10]); err != nil {
		t.Fatal(err)
	}
	empty := fill(t, dir)
	err := sink.Send(t.Context(), records[10:])
	if restart.CodeOf(err) != restart.CodeDiskFull {
		t.Errorf("%v", err)
	}
	if seq, err := sink.Settled(); seq != 10 || err != nil {
		t.Errorf("settled %d, %v", seq, err)
	}
	if status, h := health(t, r.Status); status != http.StatusServiceUnavailable || h.OK || len(h.Wrong) != 1 || !strings.Contains(h.Wrong[0], "full") {
		t.Errorf("%d, %+v", status, h)
	}
	empty()
	if err := sink.Send(t.Context(), records[10:]); err != nil {
		t.Fatal(err)
	}
	if status, h := health(t, r.Status); status != http.StatusOK || !h.OK || h.Sources[0].Head != headOf(records) {
		t.Errorf("%d, %+v", status, h)
	}
	whole(t, filepath.Join(dir, "trails"), headOf(records))
	r.Stop(unix.SIGTERM)
}

func health(t *testing.T, address string) (int, receive.Health) {
	t.Helper()
	response, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var h receive.Health
	if err := json.NewDecoder(response.Body).Decode(&h); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, h
}
