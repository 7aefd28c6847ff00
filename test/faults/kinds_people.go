package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// everywhere asks every server at once, and tells whether one of them has said
// yes.
func (r *round) everywhere(ctx context.Context, path string) bool {
	var asking sync.WaitGroup
	var yes atomic.Bool
	for _, s := range r.servers {
		asking.Go(func() {
			if s.api.call(ctx, 5*time.Second, http.MethodPost, path, "", nil, nil) == nil {
				yes.Store(true)
			}
		})
	}
	asking.Wait()
	return yes.Load()
}

// stopped notes that no further host of a run may be touched for a while.
func (r *round) stopped(s stop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops = append(r.stops, s)
}

func pauseAndResume(ctx context.Context, r *round) error {
	id := choose(r, r.runs)
	r.strike()
	paused := r.everywhere(ctx, "/api/v1/runs/"+id+"/pause")
	from := time.Now()
	pause(ctx, r.between(0, 400*time.Millisecond))
	if paused {
		r.stopped(stop{id, from, time.Now()})
	}
	r.everywhere(ctx, "/api/v1/runs/"+id+"/resume")
	return nil
}

func presses(verbs ...string) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		r.strike()
		var pressing sync.WaitGroup
		for _, id := range r.runs {
			for _, verb := range verbs {
				pressing.Go(func() {
					if r.everywhere(ctx, "/api/v1/runs/"+id+"/"+verb) && strings.HasSuffix(verb, "abort") {
						r.stopped(stop{id, time.Now(), time.Now().Add(time.Hour)})
					}
				})
			}
		}
		pressing.Wait()
		return nil
	}
}

// forceAbortTheBusy aborts by force while scripts run.
func forceAbortTheBusy(ctx context.Context, r *round) error {
	if h, _ := r.busy(ctx, time.Second); h == nil {
		return nil
	}
	return presses("force-abort")(ctx, r)
}

// askedTwice sends the same request twice at once, and once more: one run.
func askedTwice(ctx context.Context, r *round) error {
	r.keys++
	key := fmt.Sprintf("%s-%d", r.prefix, r.keys)
	service := choose(r, r.services)
	r.strike()
	var asking sync.WaitGroup
	ids, errs := make([]string, 4), make([]error, 4)
	for i := range ids {
		asking.Go(func() { ids[i], errs[i] = r.ask(ctx, service, key) })
	}
	asking.Wait()
	made := map[string]bool{}
	for i, id := range ids {
		if errs[i] != nil {
			return fmt.Errorf("ask twice: %w", errs[i])
		}
		made[id] = true
	}
	for id := range made {
		r.runs = append(r.runs, id)
		r.ledger.runs = append(r.ledger.runs, id)
	}
	if len(made) != 1 {
		r.faults = append(r.faults, finding{Kind: foundDouble, Text: fmt.Sprintf("one request with one key made %d runs: %v", len(made), ids)})
	}
	return nil
}

// rightsRevoked takes the person's token away in mid-run. Afterwards the person
// has another one, and goes on.
func rightsRevoked(ctx context.Context, r *round) error {
	r.strike()
	if err := r.asAdminCall(ctx, http.MethodDelete, "/api/v1/tokens/"+r.personID, nil, nil); err != nil {
		return fmt.Errorf("revoke a token: %w", err)
	}
	pause(ctx, r.between(100*time.Millisecond, 600*time.Millisecond))
	return r.newPerson(ctx)
}

// asAdminCall asks as the admin, and again while no server answers.
func (r *round) asAdminCall(ctx context.Context, method, path string, in, out any) error {
	var last error
	for range 10 {
		last = r.asAdmin().call(ctx, 5*time.Second, method, path, "", in, out)
		var no *refusal
		if last == nil || errors.As(last, &no) && no.Status < 500 {
			return last
		}
		pause(ctx, 200*time.Millisecond)
	}
	return last
}
