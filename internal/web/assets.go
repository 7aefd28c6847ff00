package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"sync"
)

// htmx and its SSE extension are vendored unchanged from the npm package
// htmx.org; the version is in their names and the licence beside them.
//
//go:embed static
var static embed.FS

// asset is one file that pages load.
type asset struct {
	media string
	body  []byte
	small func() []byte // the body gzipped, once somebody takes it so
}

// assets are the files that pages load, under names that carry the hash of
// their content: whatever a browser has kept under a name is right for ever.
type assets struct {
	byName map[string]asset  // name with hash
	names  map[string]string // file's own name → name with hash
}

var media = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

// served are the files that pages load as they are; what else is in the folder
// is not served, but for the stylesheet.
var served = []string{"*.js", "*.svg", "vendor/*.js"}

// stylesheet is the one that every page loads: the files of static/style, in
// the order of their names.
const stylesheet = "style.css"

// embeddedAssets reads the files, which are part of the program.
func embeddedAssets() *assets {
	a := &assets{byName: map[string]asset{}, names: map[string]string{}}
	for _, pattern := range served {
		for _, file := range embedded(pattern) {
			a.add(path.Base(file), read(file))
		}
	}
	var style bytes.Buffer
	for _, file := range embedded("style/*.css") {
		style.Write(read(file))
	}
	a.add(stylesheet, style.Bytes())
	return a
}

func embedded(pattern string) []string {
	files, _ := fs.Glob(static, "static/"+pattern) // a pattern of ours
	return files
}

func read(file string) []byte {
	body, _ := static.ReadFile(file) // it was just listed
	return body
}

func (a *assets) add(base string, body []byte) {
	sum := sha256.Sum256(body)
	ext := path.Ext(base)
	name := strings.TrimSuffix(base, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
	a.names[base] = name
	a.byName[name] = asset{media: media[ext], body: body, small: sync.OnceValue(func() []byte { return compress(body) })}
}

// url gives the address of a file by its own name.
func (a *assets) url(file string) (string, error) {
	name, ok := a.names[file]
	if !ok {
		return "", fmt.Errorf("there is no asset %s", file)
	}
	return "/assets/" + name, nil
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(body) //nolint:errcheck // into memory
	z.Close()
	return b.Bytes()
}

func (s *site) asset(w http.ResponseWriter, v *visit) error {
	a, ok := s.assets.byName[v.PathValue("name")]
	if !ok {
		return restart.Errorf(restart.CodeNotFound, "there is no such file")
	}
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.body
	if acceptsGzip(v.Request) {
		h.Set("Content-Encoding", "gzip")
		body = a.small()
	}
	w.Write(body) //nolint:errcheck // the reader has gone
	return nil
}

// acceptsGzip is as simple as browsers are: none of them sends a q of 0.
func acceptsGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}
