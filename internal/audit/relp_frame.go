package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	relpOK         = 200
	maxRelpCommand = 32
	maxRelpNumber  = 9
	maxRelpData    = 64 << 10
)

// relpFrame is what a receiver says.
type relpFrame struct {
	transaction int // 0 where it asks for no answer
	command     string
	data        []byte
}

// readRelp reads one frame: TXNR SP COMMAND SP DATALEN [SP DATA] LF. The error
// is io.EOF only between frames.
func readRelp(r *bufio.Reader) (relpFrame, error) {
	var f relpFrame
	if _, err := r.Peek(1); err != nil {
		return f, err
	}
	word, _, err := relpWord(r, maxRelpNumber, " ")
	if err != nil {
		return f, err
	}
	if f.transaction, err = relpNumber(word); err != nil {
		return f, err
	}
	if f.command, _, err = relpWord(r, maxRelpCommand, " "); err != nil {
		return f, err
	}
	word, end, err := relpWord(r, maxRelpNumber, " \n")
	if err != nil {
		return f, err
	}
	length, err := relpNumber(word)
	if err != nil {
		return f, err
	}
	if length > maxRelpData {
		return f, fmt.Errorf("it answers nonsense: a frame of %d bytes", length)
	}
	if end == '\n' {
		if length > 0 {
			return f, errors.New("it answers nonsense: a frame without its data")
		}
		return f, nil
	}
	data := make([]byte, length+1)
	if _, err := io.ReadFull(r, data); err != nil {
		return f, fmt.Errorf("its answer broke off: %w", io.ErrUnexpectedEOF)
	}
	if data[length] != '\n' {
		return f, errors.New("it answers nonsense: a frame without an end")
	}
	f.data = data[:length]
	return f, nil
}

// relpWord reads to one of the ends, which is not part of the word.
func relpWord(r *bufio.Reader, most int, ends string) (string, byte, error) {
	var word []byte
	for {
		c, err := r.ReadByte()
		if err != nil {
			return "", 0, fmt.Errorf("its answer broke off: %w", io.ErrUnexpectedEOF)
		}
		if strings.IndexByte(ends, c) >= 0 && len(word) > 0 {
			return string(word), c, nil
		}
		if c <= ' ' || c > '~' || len(word) == most {
			return "", 0, fmt.Errorf("it answers nonsense: %s", said(append(word, c)))
		}
		word = append(word, c)
	}
}

func relpNumber(word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("it answers nonsense: %s is not a number", said([]byte(word)))
	}
	return int(n), nil
}

// code reads the first line of an answer: CODE [SP TEXT].
func (f relpFrame) code() (int, error) {
	line, _, _ := strings.Cut(string(f.data), "\n")
	word, _, _ := strings.Cut(line, " ")
	if len(word) != 3 {
		return 0, fmt.Errorf("it answers nonsense: %s", said(f.data))
	}
	return relpNumber(word)
}

// checkOpened wants the answer to an offer: 200, our version, and syslog among
// the commands.
func (f relpFrame) checkOpened(transaction int) error {
	if f.command != "rsp" || f.transaction != transaction {
		return fmt.Errorf("it answers the opening of a session with %s of transaction %d: it does not speak RELP", said([]byte(f.command)), f.transaction)
	}
	code, err := f.code()
	if err != nil {
		return err
	}
	if code != relpOK {
		return fmt.Errorf("it refuses a session: %s", said(f.data))
	}
	version, commands := "", []string{}
	for _, line := range strings.Split(string(f.data), "\n")[1:] {
		switch name, value, _ := strings.Cut(line, "="); name {
		case "relp_version":
			version = value
		case "commands":
			commands = strings.Split(value, ",")
		}
	}
	if version != "0" || !slices.Contains(commands, "syslog") {
		return fmt.Errorf("its session takes no syslog by version 0 of RELP: %s", said(f.data))
	}
	return nil
}
