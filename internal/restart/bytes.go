package restart

import (
	"strconv"
	"strings"
)

// Bytes is a size that may be written with a unit: 64MB, 10GB, in powers of
// 1000, or 1GiB, in powers of 1024.
type Bytes int64

var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads it.
func (b *Bytes) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > 1e15/u.size {
			break
		}
		*b = Bytes(n * u.size)
		return nil
	}
	return Errorf(CodeInvalid, "%s is no size", Quote(string(text))).WithHint("such as 64MB or 10GB")
}

// MarshalText writes it with the largest unit that leaves nothing over.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

func (b Bytes) String() string {
	for _, u := range byteUnits {
		if int64(b) >= u.size && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
