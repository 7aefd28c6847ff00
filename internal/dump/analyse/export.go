package analyse

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Collapsed writes a flame as folded stacks: one line each, the outermost frame
// first, frames parted by ";", then a blank and the weight. A ";" in a name
// becomes ":", and the end of a line a blank. The weights add up to the flame's;
// what has no frames stands as "(no stack)".
func Collapsed(w io.Writer, f *Flame) error {
	out := bufio.NewWriter(w)
	var line []byte
	err := f.Root.walk(nil, func(way []*FlameNode, weight int64) error {
		line = line[:0]
		for i, n := range way {
			if i > 0 {
				line = append(line, ';')
			}
			line = append(line, folded.Replace(frameWord(n))...)
		}
		if len(way) == 0 {
			line = append(line, noStack...)
		}
		_, err := fmt.Fprintf(out, "%s %d\n", line, weight)
		return err
	})
	if err != nil {
		return fmt.Errorf("write collapsed stacks: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write collapsed stacks: %w", err)
	}
	return nil
}

const noStack = "(no stack)"

var folded = strings.NewReplacer(";", ":", "\n", " ", "\r", " ")

// frameWord is a frame's name, where it has one.
func frameWord(n *FlameNode) string {
	if n.Name == "" {
		return "?"
	}
	return n.Name
}

// scopeFile is a file of speedscope.app, as its file-format-spec.ts has it.
type scopeFile struct {
	Schema   string         `json:"$schema"`
	Exporter string         `json:"exporter"`
	Name     string         `json:"name"`
	Active   int            `json:"activeProfileIndex"`
	Shared   scopeShared    `json:"shared"`
	Profiles []scopeProfile `json:"profiles"`
}

type scopeShared struct {
	Frames []scopeFrame `json:"frames"`
}

type scopeFrame struct {
	Name string `json:"name"`
	File string `json:"file,omitempty"`
}

type scopeProfile struct {
	Type    string  `json:"type"`
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Start   int64   `json:"startValue"`
	End     int64   `json:"endValue"`
	Samples [][]int `json:"samples"` // indexes of frames, the outermost first
	Weights []int64 `json:"weights"`
}

// Speedscope writes a flame as a file for speedscope.app: one profile of type
// "sampled", whose weights add up to the flame's.
func Speedscope(w io.Writer, f *Flame, name string) error {
	profile := scopeProfile{Type: "sampled", Name: name, Unit: "none", Samples: [][]int{}, Weights: []int64{}}
	if f.Weight == ByCPU {
		profile.Unit = "nanoseconds"
	}
	frames, index := []scopeFrame{}, map[scopeFrame]int{}
	err := f.Root.walk(nil, func(way []*FlameNode, weight int64) error {
		sample := make([]int, len(way))
		for i, n := range way {
			frame := scopeFrame{Name: frameWord(n), File: n.File}
			at, known := index[frame]
			if !known {
				at = len(frames)
				index[frame] = at
				frames = append(frames, frame)
			}
			sample[i] = at
		}
		profile.Samples, profile.Weights = append(profile.Samples, sample), append(profile.Weights, weight)
		profile.End += weight
		return nil
	})
	if err != nil {
		return err
	}
	file := scopeFile{
		Schema: "https://www.speedscope.app/file-format-schema.json", Exporter: "restartilka", Name: name,
		Shared: scopeShared{Frames: frames}, Profiles: []scopeProfile{profile},
	}
	if err := json.NewEncoder(w).Encode(file); err != nil {
		return fmt.Errorf("write a file for speedscope: %w", err)
	}
	return nil
}
