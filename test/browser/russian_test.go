package browser

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
)

// A developer who reads Russian goes the whole way in it: a service, a form that
// is refused, the plan, the second step, and the run to its end.
func TestTheWholeWayInRussian(t *testing.T) {
	f := newFixtureWith(t, twoEnvironments(t))
	b := f.signedIn()
	b.visit("/profile")
	b.press("button[name=language][value=ru]")
	b.until("document.documentElement.lang === 'ru' && document.readyState === 'complete'")
	says := func(words ...string) {
		t.Helper()
		text := eval[string](b, "document.querySelector('main').innerText")
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s does not say %q:\n%s", eval[string](b, "location.pathname"), w, text)
			}
		}
	}

	b.visit("/")
	b.fill("#q", "hel")
	b.until("document.querySelectorAll('#offers a').length === 1")
	b.press("#offers a")
	b.until("location.pathname === '/start' && document.readyState === 'complete'")
	b.press("[name=env][value=production]")
	b.press("[name=scenario][value=tuned]")
	b.choose(`[name="tuned.param.mode"]`, "gentle")
	b.press("#ask button.main")
	b.until("document.querySelector('#ask-reason-wrong') !== null && document.readyState === 'complete'")
	if wrong := eval[string](b, "document.querySelector('#ask-reason-wrong').innerText"); !regexp.MustCompile(`^[\p{Cyrillic}\s\d,.:;?–—-]+$`).MatchString(wrong) {
		t.Errorf("a reason that is missing is answered with %q", wrong)
	}
	b.fill("#reason", "воркеры висят после выкладки")
	b.press("#ask button.main")
	b.until("document.querySelector('#plan') !== null && document.readyState === 'complete'")
	b.until("document.querySelector('button.green').innerText.startsWith('Перезапустить')")
	says("воркеры висят после выкладки", "Последний перезапуск")
	b.press("button.green")
	b.until("document.querySelector('#typed') !== null && document.readyState === 'complete'")
	b.fill("#typed", "world")
	b.press("button.green")
	b.until("document.querySelector('#confirm-typed-wrong') !== null && document.readyState === 'complete'")
	says("Это не имя сервиса")
	b.retype("#typed", demo.ServiceName)
	b.press("button.green")
	b.until(badge + " === 'Выполнен'")
	run := f.Until(b.run(), restart.RunCompleted)
	if len(run.Tasks) != 3 || run.Environment != "production" {
		t.Errorf("%s over %d hosts", run.Environment, len(run.Tasks))
	}
	says("3 из 3")
	if os.Getenv("RESTARTILKA_SCREENSHOTS") != "" {
		f.fits(b, "russian-run")
	}
	b.quiet("status of 422")
}
