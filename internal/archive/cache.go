package archive

import (
	"container/list"
	"sync"

	"github.com/restartilka/restartilka/internal/dump"
)

// cache has the dumps that were parsed last, up to a number of bytes: a person
// who looks at one asks for it again and again.
type cache struct {
	most int64

	mu     sync.Mutex
	used   int64
	order  *list.List // the one used last first
	byID   map[string]*list.Element
	flight map[string]chan struct{} // by id: closed when whoever parses it is done
}

type cached struct {
	id    string
	dumps []*dump.Dump
	cost  int64
}

func newCache(most int64) *cache {
	return &cache{most: most, order: list.New(), byID: map[string]*list.Element{}, flight: map[string]chan struct{}{}}
}

// enter gives the dumps of an id; or, where they are not there, either a channel
// to wait for, as somebody is parsing them, or nil: then the caller is to parse
// them, and to leave.
func (c *cache) enter(id string) (dumps []*dump.Dump, there bool, wait chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[id]; ok {
		c.order.MoveToFront(e)
		return e.Value.(cached).dumps, true, nil
	}
	if wait := c.flight[id]; wait != nil {
		return nil, false, wait
	}
	c.flight[id] = make(chan struct{})
	return nil, false, nil
}

// leave ends the parsing of an id, with what came of it; nil = nothing.
func (c *cache) leave(id string, dumps []*dump.Dump, cost int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.flight[id])
	delete(c.flight, id)
	if dumps == nil || cost > c.most {
		return
	}
	c.byID[id] = c.order.PushFront(cached{id, dumps, cost})
	for c.used += cost; c.used > c.most; {
		c.drop(c.order.Back())
	}
}

// forget drops an id.
func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[id]; ok {
		c.drop(e)
	}
}

func (c *cache) drop(e *list.Element) {
	old := c.order.Remove(e).(cached)
	c.used -= old.cost
	delete(c.byID, old.id)
}
