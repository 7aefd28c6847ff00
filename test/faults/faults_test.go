package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"context"

	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

// cheap are the kinds whose every injection is over in a few seconds.
func cheap() string {
	var names []string
	for i := range kinds {
		if kinds[i].weight > 0 && kinds[i].lasts < 5*time.Second {
			names = append(names, kinds[i].name)
		}
	}
	return strings.Join(names, ",")
}

// A short run over every cheap kind keeps every promise.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole programs are for the long tests")
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var out, talk bytes.Buffer
	args := []string{"--n", "40", "--kinds", cheap()}
	if seed := os.Getenv("RESTARTILKA_SEED"); seed != "" {
		args = append(args, "--seed", seed)
	}
	code := command(ctx, args, &out, &talk)
	t.Log(talk.String())
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("standard output is not one line of JSON (%v): %q", err, out.String())
	}
	if code != 0 || !r.good() || r.Injections < 30 || r.Tasks == 0 {
		t.Errorf("exit %d: %s", code, out.String())
	}
	for kind, n := range r.Kinds {
		if n == 0 {
			t.Errorf("%s was not injected", kind)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"--n", "0"}, {"--kinds", "kill-everybody"}, {"--lanes", "oracle"}, {"more"}, {"--wrong"}} {
		var out, talk bytes.Buffer
		if code := command(context.Background(), args, &out, &talk); code != 2 || talk.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: exit %d, said %q and %q", args, code, talk.String(), out.String())
		}
	}
	var out, talk bytes.Buffer
	if code := command(context.Background(), []string{"--list"}, &out, &talk); code != 0 || strings.Count(out.String(), "\n") != len(kinds) {
		t.Errorf("--list: exit %d\n%s%s", code, out.String(), talk.String())
	}
}
