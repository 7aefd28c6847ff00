package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// Input is one file of a stored trail. One that was packed by gzip is unpacked.
type Input struct {
	Name string // "" where there is only one
	io.Reader
}

// blockSize is how much is read at once, in whole lines.
const blockSize = 256 << 10

// block is a piece of an input: lines, and then what they are.
type block struct {
	input   int
	first   int64  // number of its first line in the input, from 1
	text    []byte // whole lines, but for the end of an input
	torn    bool   // the last line has no end
	long    bool   // instead of lines: one that is too long
	packed  string // instead of lines: by what the input is packed that can't be unpacked here
	err     error  // instead of lines: the input can't be read
	entries []entry
	judged  chan struct{} // closed when entries are there
}

// judgeLines reads the inputs one after another, has their lines judged on all
// cores, and calls take with each block in order. It ends with the first error
// of reading. Memory is bounded by a few blocks.
func judgeLines(inputs []Input, take func(*block)) error {
	workers := runtime.GOMAXPROCS(0)
	ordered := make(chan *block, 2*workers)
	work := make(chan *block, 2*workers)
	free := make(chan *block, 4*workers)
	var running sync.WaitGroup
	running.Go(func() {
		defer close(ordered)
		defer close(work)
		r := &lineReader{free: free, send: func(b *block) { work <- b; ordered <- b }}
		for i, in := range inputs {
			if !r.read(i, in) {
				return
			}
		}
	})
	for range workers {
		running.Go(func() {
			j := judge{sources: map[string]string{}, actions: map[string]Action{}}
			for b := range work {
				j.block(b)
				close(b.judged)
			}
		})
	}
	var failure error
	for b := range ordered {
		<-b.judged
		if b.err != nil {
			failure = b.err
			continue
		}
		take(b)
		select {
		case free <- b:
		default:
		}
	}
	running.Wait()
	return failure
}

// lineReader cuts inputs into blocks.
type lineReader struct {
	free  chan *block
	send  func(*block)
	input int
	line  int64 // number of the next
}

func (r *lineReader) block() *block {
	var b *block
	select {
	case b = <-r.free:
		*b = block{text: b.text[:0], entries: b.entries[:0]}
	default:
		b = &block{text: make([]byte, 0, blockSize)}
	}
	b.input, b.first, b.judged = r.input, r.line, make(chan struct{})
	return b
}

// read sends the blocks of one input; false = it can't be read, which is said.
func (r *lineReader) read(number int, in Input) bool {
	r.input, r.line = number, 1
	input, packed, err := unpack(in.Reader)
	var rest []byte // of a line whose end has not come yet
	for err == nil && packed == "" {
		b := r.block()
		b.text = append(b.text, rest...)
		for err == nil && len(b.text) < cap(b.text) {
			var got int
			got, err = input.Read(b.text[len(b.text):cap(b.text)])
			b.text = b.text[:len(b.text)+got]
		}
		rest = rest[:0]
		if err == nil {
			end := bytes.LastIndexByte(b.text, '\n') + 1
			if end == 0 {
				err = r.skipLong(input)
				continue
			}
			rest = append(rest, b.text[end:]...)
			b.text = b.text[:end]
		}
		b.torn = len(b.text) > 0 && b.text[len(b.text)-1] != '\n'
		if len(b.text) > 0 {
			r.line += int64(bytes.Count(b.text, []byte("\n")))
			if b.torn {
				r.line++
			}
			r.send(b)
		}
	}
	if errors.Is(err, io.EOF) { // what is packed can end too early: that is another error
		return true
	}
	b := r.block()
	b.packed = packed
	if err != nil {
		b.err = fmt.Errorf("read the audit trail: %w", err)
		if in.Name != "" {
			b.err = fmt.Errorf("read %s: %w", in.Name, err)
		}
	}
	r.send(b)
	return err == nil
}

// skipLong passes over the rest of a line that fills a block and goes on.
func (r *lineReader) skipLong(input *bufio.Reader) error {
	b := r.block()
	b.long = true
	r.line++
	r.send(b)
	for {
		_, err := input.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// unpack looks at the first bytes of an input. packed names what packed it, where
// that can't be undone here.
func unpack(r io.Reader) (input *bufio.Reader, packed string, err error) {
	input = bufio.NewReaderSize(r, 64<<10)
	head, err := input.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	for magic, name := range map[string]string{"\xfd7zXZ\x00": "xz", "\x28\xb5\x2f\xfd": "zstd", "BZh": "bzip2", "\x04\x22\x4d\x18": "lz4", "PK\x03\x04": "zip"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return nil, name, nil
		}
	}
	if !bytes.HasPrefix(head, []byte("\x1f\x8b")) {
		return input, "", nil
	}
	unzipped, err := gzip.NewReader(input)
	if err != nil {
		return nil, "", err
	}
	return bufio.NewReaderSize(unzipped, 64<<10), "", nil
}
