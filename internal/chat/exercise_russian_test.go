package chat_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/chat"
)

// inRussian has the bot speak Russian in the chats of the settings.
func inRussian(s chat.Settings) chat.Settings {
	if s.Telegram != nil {
		s.Telegram.Language = "ru"
	}
	if s.Slack != nil {
		s.Slack.Language = "ru"
	}
	if s.Mattermost != nil {
		s.Mattermost.Language = "ru"
	}
	return s
}

// hostile is a reason that chats would make something of, and that has the words of
// a sentence of ours.
const hostile = "<!channel> @all <b>bold</b> ``` [click](https://evil.example) <https://evil.example|click> /start *x* &amp; run x is over: aborted"

// exerciseRussian is a restart from the plan to the end, and a dump, in Russian.
func exerciseRussian(t *testing.T, w *world) {
	w.dumpScenario()
	w.run(inRussian(anywhere(w.chat.settings(w.chat.group()))))
	w.link(anna)
	place := w.chat.direct(anna)

	w.Agents.Set("web1", apitest.Hangs)
	m := w.planFor(anna, place, hostile)
	for _, want := range []string{"Перезапуск shop, окружение production\nСценарий: plain-restart: Restart the unit\nПричина: ", "[click](https://evil.example)", "Хосты: 3, группа shop-production, по одному\n  web1", "Действует две минуты, только для anna."} {
		if !strings.Contains(m.text, want) {
			t.Errorf("the plan does not say %q:\n%s", want, m.text)
		}
	}
	if labels := strings.Join(m.buttons, ", "); labels != "Запустить, Не запускать" {
		t.Errorf("its buttons are %s", labels)
	}
	w.chat.press(anna, place, m.id, "Запустить")
	w.seesButtons(place, m.id, "Пауза", "Прервать")
	w.chat.press(anna, place, m.id, "Запустить")
	w.hears(anna, place, "Эту кнопку уже нажали")
	w.chat.press(anna, place, m.id, "Пауза")
	w.hears(anna, place, "Запрошена пауза: запуск ")
	w.seesButtons(place, m.id, "Прервать")
	w.Agents.Set("web1", apitest.Succeeds)
	w.Agents.Set("web2", apitest.Fails)
	paused := w.seesButtons(place, m.id, "Продолжить", "Прервать")
	if !strings.Contains(paused.text, "Перезапуск shop, окружение production: на паузе (по просьбе человека), готово 1 из 3 хостов") {
		t.Errorf("it says:\n%s", paused.text)
	}
	w.chat.press(anna, place, m.id, "Продолжить")
	w.until("the failure", func() bool {
		return strings.Contains(w.message(place, m.id).text, "web2 ошибка: скрипт завершился с кодом 1")
	})
	w.seesButtons(place, m.id, "Продолжить", "Прервать")
	w.chat.press(anna, place, m.id, "Прервать")
	w.hears(anna, place, "Запрошено прерывание: запуск ")
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, ": прерван") })
	w.seesButtons(place, m.id)

	w.Agents.Set("web2", apitest.Succeeds)
	m = w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Запустить")
	w.until("the end", func() bool {
		return strings.Contains(w.message(place, m.id).text, ": выполнен, готово 3 из 3 хостов за ")
	})
	m = w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Не запускать")
	w.until("the message", func() bool {
		return strings.Contains(w.message(place, m.id).text, "Не запущено: anna решил(а) не запускать.")
	})
	w.chat.say(anna, place, "/runs")
	w.hears(anna, place, "Перезапуск shop, окружение production: прерван (по просьбе человека), 20")

	m = w.planOf(anna, place, "/dump shop production "+reason)
	w.capture()
	w.chat.press(anna, place, m.id, "Запустить")
	w.until("the verdict", func() bool { return strings.Contains(w.message(place, m.id).text, "Вердикт: ") })

	if bad := w.chat.harmless(place); bad != "" {
		t.Errorf("the chat makes of it: %s", bad)
	}
	allRussian(t, append(w.chat.heard(anna, place), texts(w.chat.shown(place))...))
}

// exerciseLookingInRussian asks for what changes nothing, and for what can't be.
func exerciseLookingInRussian(t *testing.T, w *world) {
	w.run(inRussian(anywhere(w.chat.settings(w.chat.group()))))
	place, group, his := w.chat.direct(anna), w.chat.group(), w.chat.direct(boris)
	w.chat.say(anna, place, "/restart shop production "+reason)
	w.hears(anna, place, "Я вас здесь пока не знаю")
	w.link(anna)
	w.link(boris)
	for said, want := range map[string]string{
		"/help":                          "Причина — не короче 10 знаков.",
		"/whoami":                        "Вы — anna, developer.",
		"/runs":                          "Запусков нет.",
		"/runs nothing":                  "Запусков «nothing» нет.",
		"/status":                        "Укажите, какой запуск.",
		"/status nothing":                "26 строчных букв и цифр",
		"/approvals":                     "Одобрения ничто не ждёт.",
		"/restart":                       "Укажите, какой сервис и почему.\n/restart СЕРВИС [ОКРУЖЕНИЕ] ПРИЧИНА",
		"/restart shp " + reason:         "Сервиса «shp» нет в инвентаре",
		"/restart shop .":                "слишком короткая",
		"/restart <b>@all</b> " + reason: "«<b>@all</b>»",
		"/approve":                       "Укажите, какой запуск, и пояснение.",
		"/link":                          "Не хватает кода.",
		"/link 00000-00000":              "Код не подходит",
	} {
		w.chat.say(anna, place, said)
		w.hears(anna, place, want)
	}
	w.chat.say(anna, group, "/link 00000-00000")
	w.hears(anna, group, "Учётные записи привязывают в личном чате со мной")
	w.chat.say(boris, his, "/restart shop "+reason)
	w.hears(boris, his, "Boris не может перезапускать shop")
	for _, at := range []string{place, group, his} {
		if bad := w.chat.harmless(at); bad != "" {
			t.Errorf("the chat makes of it: %s", bad)
		}
	}
	allRussian(t, append(append(w.chat.heard(anna, place), w.chat.heard(anna, group)...), w.chat.heard(boris, his)...))
}

// Names, ids and addresses, words of commands, and what people have written stay as
// they are; all else is to be Russian.
var (
	ours   = strings.NewReplacer(hostile, "", strings.ReplaceAll(hostile, "`", "'"), "", reason, "", "Restart the unit", "", "Dump the unit", "", "plain-restart", "", "plain-dump", "", "shop-production", "", "shop", "", "production", "", "bare", "", "anna", "", "boris", "", "Boris", "", "developer", "", "UTC", "")
	asIs   = regexp.MustCompile("`[^`\n]*`|'[^'\n]*'|«[^»\n]*»|https://[^ )\n]*|/[a-z]+|[a-z]*[0-9][a-z0-9-]*")
	latins = regexp.MustCompile(`[A-Za-z]{3,}`)
)

func allRussian(t *testing.T, told []string) {
	t.Helper()
	for _, text := range told {
		if left := latins.FindString(asIs.ReplaceAllString(ours.Replace(text), "")); left != "" {
			t.Errorf("%q is not Russian in\n%s", left, text)
		}
	}
}
