// Package security attacks the real programs, as whoever has taken over a part
// of them could: what is refused, by whom, and where that is recorded.
package security

import (
	"os"
	"testing"

	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}
