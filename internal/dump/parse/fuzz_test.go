package parse

import (
	"bytes"
	"testing"

	"github.com/restartilka/restartilka/internal/dump"
)

// fuzzed is what holds of any bytes: reading them ends, loses no line, gives
// valid text, and gives the same twice.
func fuzzed(t *testing.T, text []byte) {
	dumps, err := Bytes(text)
	if err != nil {
		if len(dumps) > 0 {
			t.Fatal("dumps, and an error:", err)
		}
		return
	}
	if len(dumps) == 0 {
		t.Fatal("neither dumps nor an error")
	}
	valid(t, dumps)
	if !bytes.HasPrefix(text, []byte{0xff, 0xfe}) && !bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		covers(t, text, dumps)
	}
}

func fuzz(f *testing.F, format dump.Format) {
	for _, sample := range samplesOf(f, format) {
		f.Add(sample[:min(len(sample), 4<<10)])
	}
	f.Fuzz(fuzzed)
}

func FuzzHotSpot(f *testing.F)      { fuzz(f, dump.HotSpot) }
func FuzzHotSpotJSON(f *testing.F)  { fuzz(f, dump.HotSpotJSON) }
func FuzzHotSpotPlain(f *testing.F) { fuzz(f, dump.HotSpotPlain) }
func FuzzGoroutines(f *testing.F)   { fuzz(f, dump.Goroutines) }
func FuzzGoGrouped(f *testing.F)    { fuzz(f, dump.GoGrouped) }
func FuzzFaulthandler(f *testing.F) { fuzz(f, dump.Faulthandler) }
func FuzzPySpy(f *testing.F)        { fuzz(f, dump.PySpy) }
func FuzzKernel(f *testing.F)       { fuzz(f, dump.Kernel) }

// FuzzRead: several forms in one text, behind headers and prefixes.
func FuzzRead(f *testing.F) {
	header, err := dump.Header{PID: 7, Runtime: dump.JVM, CPU: map[int64]int64{7: 1}}.Line()
	if err != nil {
		f.Fatal(err)
	}
	text := bytes.Clone(header)
	for _, k := range kinds {
		for _, sample := range samplesOf(f, k.format) {
			text = append(append(text, sample[:min(len(sample), 600)]...), "\n"...)
			break
		}
	}
	f.Add(text)
	f.Add(bytes.ReplaceAll(text, []byte("\n"), []byte("\nNov 23 10:11:12 web-1 x[1]: ")))
	f.Fuzz(fuzzed)
}
