package restart

import (
	"strconv"
	"strings"
	"time"
)

// Days is a time that may be written in days: 30d, or 12h.
type Days time.Duration

// UnmarshalText reads it.
func (d *Days) UnmarshalText(b []byte) error {
	text := string(b)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		*d = Days(time.Duration(n) * 24 * time.Hour)
		if err == nil {
			return nil
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return Errorf(CodeInvalid, "%s is no time", Quote(text)).WithHint("such as 30d or 12h")
	}
	*d = Days(v)
	return nil
}

// MarshalText writes whole days as days.
func (d Days) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Days) String() string {
	if day := Days(24 * time.Hour); d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return time.Duration(d).String()
}
