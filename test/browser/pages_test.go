package browser

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe is axe-core 4.14.1 as it is in the npm package: axe.min.js. It is of the
// tests alone.
//
//go:embed testdata/axe-core-4.14.1.min.js
var axe string

const axeSum = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

// violations is what axe finds wrong with a page, as an expression: rules of
// WCAG 2.2 at A and AA, and axe's own of good practice. By night, and on a phone,
// only what may be otherwise there is asked for.
func violations(again bool) string {
	only := ""
	if again {
		only = ", runOnly: {type: 'rule', values: ['color-contrast', 'target-size', 'scrollable-region-focusable', 'link-in-text-block', 'meta-viewport']}"
	}
	return `axe.run(document, {resultTypes: ['violations'], preload: false, iframes: false` + only + `}).then(r => r.violations.map(v =>
	v.id + ' (' + v.help + '): ' + v.nodes.slice(0, 4).map(n => n.target.join(' ') + ' ' + n.html.slice(0, 160) + ' | ' + [...n.any, ...n.all, ...n.none].map(c => c.message).join('; ')).join(' / ')))`
}

// Every page is looked at by day on a desk, by night on a phone, and on the
// widest screen: nothing sticks out, axe finds nothing, and the content security policy is kept.
// RESTARTILKA_SCREENSHOTS names a folder for pictures of all of them, in both
// themes and both widths; RESTARTILKA_LANGUAGE=ru has them in Russian.
func TestPagesAreAccessible(t *testing.T) {
	if sum := sha256.Sum256([]byte(axe)); hex.EncodeToString(sum[:]) != axeSum {
		t.Fatal("axe-core is not what npm has")
	}
	s := newShop(t)
	found := map[string][]string{} // the places by what is wrong
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			b := s.as(p.as)
			b.t = t
			defer func() { b.t = s.t }()
			s.goTo(b, p)
			for v, where := range s.look(b, p) {
				found[v] = append(found[v], where...)
			}
		})
	}
	for v, where := range found {
		t.Errorf("%s, on %d pages: %s", v, len(where), strings.Join(where, ", "))
	}
	for _, b := range s.tabs {
		b.quiet("status of 404", "status of 403", "status of 422")
	}
}

// emptyPlaces are pages with nothing on them yet.
var emptyPlaces = []place{
	{name: "empty-home", path: at("/")}, {name: "empty-runs", path: at("/runs")}, {name: "empty-planned", path: at("/planned")}, {name: "empty-locks", path: at("/locks")},
	{name: "empty-approvals", path: at("/approvals")}, {name: "empty-review", path: at("/review")}, {name: "empty-dumps", path: at("/dumps")}, {name: "empty-freezes", path: at("/freezes")},
	{name: "empty-break-glass", path: at("/break-glass")}, {name: "empty-statistics", path: at("/statistics")},
}

// Where nothing was done yet, pages are looked at like all others.
func TestEmptyPagesAreAccessible(t *testing.T) {
	f := newFixture(t)
	b := f.signedIn()
	for _, p := range emptyPlaces {
		b.show(1280, "light")
		b.visit(p.path(nil))
		if said := eval[string](b, "document.querySelector('main').innerText.trim()"); said == "" {
			t.Errorf("%s says nothing", p.name)
		}
		for v, where := range f.look(b, p) {
			t.Errorf("%s: %s", strings.Join(where, ", "), v)
		}
	}
	b.quiet()
}

// goTo goes to a place, and waits until it is all there.
func (s *shop) goTo(b *tab, p place) {
	b.t.Helper()
	b.show(1280, "light")
	b.visit(p.path(s))
	if p.ready != "" {
		b.until(p.ready)
	}
	if p.open != "" {
		b.press(p.open)
	}
	if p.do != nil {
		p.do(b)
	}
	b.until("document.querySelector('.htmx-request') === null")
	if got := eval[int](b, "performance.getEntriesByType('navigation')[0].responseStatus"); got != cmp.Or(p.status, http.StatusOK) {
		b.t.Errorf("status %d, want %d", got, cmp.Or(p.status, http.StatusOK))
	}
}

// look looks at a page in every way, and gives what axe has found, and where.
func (f *fixture) look(b *tab, p place) map[string][]string {
	b.t.Helper()
	looks := []look{{1280, "light"}, {360, "dark"}, {3840, "light"}}
	if f.pictures() != "" {
		looks = []look{{1280, "light"}, {390, "dark"}, {1280, "dark"}, {390, "light"}}
	}
	found := map[string][]string{}
	if twice := eval[[]string](b, "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"); len(twice) > 0 {
		b.t.Errorf("elements have the same id: %q", twice)
	}
	eval[bool](b, axe+"\n;true")
	for i, l := range looks {
		b.show(l.width, l.scheme)
		if out := eval[string](b, wide); out != "" {
			b.t.Errorf("%d %s: sticks out: %s", l.width, l.scheme, out)
		}
		if i < 2 { // the others are of the same rules
			wrong, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](violations(i > 0), chromedp.EvalAwaitPromise))
			must(b.t, err)
			for _, v := range wrong {
				found[v] = append(found[v], fmt.Sprintf("%s %d %s", p.name, l.width, l.scheme))
			}
		}
		f.picture(b, fmt.Sprintf("%s-%d-%s", p.name, l.width, l.scheme))
	}
	return found
}

// look is a window: how wide, and by day or by night.
type look struct {
	width  int64
	scheme string
}

func (f *fixture) pictures() string { return os.Getenv("RESTARTILKA_SCREENSHOTS") }

// picture keeps what a page looks like.
func (f *fixture) picture(b *tab, name string) {
	b.t.Helper()
	dir := f.pictures()
	if dir == "" {
		return
	}
	// In the documents the server lies where a package puts it.
	eval[bool](b, fmt.Sprintf("(() => { const all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); while (all.nextNode()) all.currentNode.data = all.currentNode.data.replaceAll(%q, '/etc/restartilka').replaceAll(%q, '/var/lib/restartilka').replaceAll(%q, '/run/checkout'); return true })()", f.ServerDir(), filepath.Dir(f.Database()), f.gates))
	// What sticks to the lower edge of a window covers nothing where all of the page fits.
	height := eval[int64](b, "document.documentElement.scrollHeight")
	b.do(chromedp.EmulateViewport(eval[int64](b, "innerWidth"), height))
	b.until(fmt.Sprintf("innerHeight === %d", height))
	taken, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	must(b.t, err)
	small, err := fewColours(taken)
	must(b.t, err)
	must(b.t, os.MkdirAll(dir, 0o755))
	must(b.t, os.WriteFile(filepath.Join(dir, name+".png"), small, 0o644))
}

// What a picture may have, so that all of them together stay small.
const (
	mostColours = 48
	mostHeight  = 1400 // pixels
	phoneHeight = 2800 // of a phone, whose pages are long: the button at the end is to be seen
	phoneWidth  = 390
)

// fewColours gives the upper part of a PNG in few of its colours: each other is
// shown as the nearest of them.
func fewColours(picture []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	size := from.Bounds()
	most := mostHeight
	if size.Dx() <= phoneWidth {
		most = phoneHeight
	}
	size.Max.Y = min(size.Max.Y, most)
	plain := image.NewRGBA(size)
	draw.Draw(plain, size, from, size.Min, draw.Src)
	count := map[color.RGBA]int{}
	for p := 0; p < len(plain.Pix); p += 4 {
		count[color.RGBA{plain.Pix[p], plain.Pix[p+1], plain.Pix[p+2], plain.Pix[p+3]}]++
	}
	colours := make([]color.RGBA, 0, len(count))
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	})
	var palette color.Palette
	for _, near := range []int{40, 0} { // first those that differ, so that none is lost that is seldom
		for _, c := range colours {
			if len(palette) < mostColours && (len(palette) == 0 || distance(palette[palette.Index(c)].(color.RGBA), c) > near) {
				palette = append(palette, c)
			}
		}
	}
	to := image.NewPaletted(size, palette)
	index := map[color.RGBA]uint8{}
	for c := range count {
		index[c] = uint8(palette.Index(c))
	}
	for p := 0; p < len(plain.Pix); p += 4 {
		to.Pix[p/4] = index[color.RGBA{plain.Pix[p], plain.Pix[p+1], plain.Pix[p+2], plain.Pix[p+3]}]
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to)
	return out.Bytes(), err
}

func distance(a, b color.RGBA) int {
	apart := func(x, y uint8) int { return max(int(x), int(y)) - min(int(x), int(y)) }
	return apart(a.R, b.R) + apart(a.G, b.G) + apart(a.B, b.B)
}
