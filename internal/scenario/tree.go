package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
)

// load makes the node tree of the one document in b, and refuses everything of
// YAML that lets a text mean something else than it seems to: directives, tags,
// anchors, aliases, further documents.
func load(b []byte, found *findings) (*yaml.Node, bool) {
	loader, err := yaml.NewLoader(bytes.NewReader(b))
	if err != nil {
		found.refuse(0, codeSyntax, restart.Escape(err.Error()), "")
		return nil, false
	}
	var document, second yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF), err == nil && len(document.Content) == 0:
		found.refuse(0, codeStructure, "the file is empty", "see: restartilka scenario new --unit UNIT")
		return nil, false
	case err != nil:
		refuseSyntax(err, found)
		return nil, false
	}
	root := document.Content[0]
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		refuseSyntax(err, found)
		return nil, false
	default:
		found.refuse(second.Line, codeStructure, "a second document begins here", "one file holds one scenario: remove the ---")
		return nil, false
	}
	for i, text := range strings.SplitN(string(b), "\n", root.Line) {
		if i+1 < root.Line && strings.HasPrefix(text, "%") {
			found.refuse(i+1, codeStructure, "YAML directives are not read", "remove the line")
			return nil, false
		}
	}
	return root, plain(root, found)
}

// refuseSyntax says where the YAML reader gave up.
func refuseSyntax(err error, found *findings) {
	at, message := 0, err.Error()
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		at, message = e.Mark.Line, e.Message
	}
	found.refuse(at, codeSyntax, "this is not YAML: "+restart.Escape(message), "look for a missing quote, bracket or space after a colon, or a tab used to indent")
}

// plain tells whether no node of the tree carries an alias, anchor or tag.
func plain(n *yaml.Node, found *findings) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		found.refuse(n.Line, codeStructure, fmt.Sprintf("the alias *%s is not read", restart.Escape(n.Value)), "write the text out: a reviewer must see it where it is used")
		return false
	case n.Anchor != "":
		found.refuse(n.Line, codeStructure, fmt.Sprintf("the anchor &%s is not read", restart.Escape(n.Anchor)), "write the text out where it is used")
		return false
	case n.Style&yaml.TaggedStyle != 0, n.Tag == "!":
		found.refuse(n.Line, codeStructure, "YAML tags (!…) are not read", "remove the tag; put the value in quotes if it is text")
		return false
	}
	ok := true
	for _, child := range n.Content {
		ok = plain(child, found) && ok
	}
	return ok
}
