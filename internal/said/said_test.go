package said

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestSaid(t *testing.T) {
	for english, want := range map[string]string{
		"":                              "",
		"run 01m is over: aborted":      "запуск 01m закончен: прерван",
		"the old password is not right": "старый пароль неверен",
		"vera may not restart shop: vera does not own shop, and no rule names vera":       "vera не может перезапускать shop: vera — не владелец shop, и ни одно правило не называет vera",
		"dana may not administer: dana is not an admin":                                   "dana не может администрировать: dana — не администратор",
		"ask anna, team web or an admin":                                                  "кто может: anna, команда web или администратор",
		"an approval is needed, by maria or an admin, other than dana":                    "нужно одобрение; его может дать maria или администратор, но не dana",
		"production is frozen until Fri 2026-11-27 18:00 CET: no; not now (really)":       "заморожено до пт 2026-11-27 18:00 CET: production. no; not now (really)",
		"search in production is frozen until Tue 2026-11-24 00:40 UTC: the sale":         "заморожено до вт 2026-11-24 00:40 UTC: search, production. the sale",
		"a, b in production is frozen until Tue 2026-11-24 00:40 UTC: the sale in town":   "заморожено до вт 2026-11-24 00:40 UTC: a, b, production. the sale in town",
		"web1: failed, the whole process tree was ended; 2 hosts are not well, 1 allowed": "web1: не выполнен, всё дерево процессов завершено; неблагополучных хостов: 2, допустимо 1",
		"not healthy within 1m0s: for the last 20s: unit shop.service is failed (failed); the process was replaced 21 times since the restart, as if it crashed again and again": "нездоров в течение 1 мин: последние 20 с: юнит shop.service — failed (failed); после перезапуска процесс сменился 21 раз, похоже, он падает снова и снова",
		"the password has 11 characters, and at least 12 are needed":                                                             "в пароле 11 знаков, нужно не меньше 12",
		"the password has 2 characters, and at least 12 are needed":                                                              "в пароле 2 знака, нужно не меньше 12",
		`service "serch" is not in the inventory (did you mean search or searches?)`:                                             "сервиса «serch» нет в инвентаре (возможно, имелось в виду: search или searches?)",
		"failed (failure), 2 succeeded, 1 unknown (decided: 1 happened)":                                                         "не выполнен (ошибка на хосте), готово: 2, неизвестно: 1 (решено: выполнено: 1)",
		`service "shop" has no group in environment "test"`:                                                                      "у сервиса «shop» нет группы в окружении «test»",
		"the series may take 1h30m0s and task_timeout is 1.5s":                                                                   "серия может занять 1 ч 30 мин, а task_timeout — 1,5 с",
		"web1: failed, health: not healthy within 1m0s: unit shop.service is failed (failed)":                                    "web1: не выполнен, проверка здоровья: нездоров в течение 1 мин: юнит shop.service — failed (failed)",
		"not healthy within 1 minute: for the last 1.5 seconds: no answer within 300 milliseconds":                               "нездоров в течение 1 мин: последние 1,5 с: нет ответа за 300 мс",
		"the host did not answer for 1 hour 2 minutes 5.5 seconds: whether the script ran is not known (EOF)":                    "хост не отвечал 1 ч 2 мин 5,5 с: выполнился ли скрипт, неизвестно (EOF)",
		"the plan was made 90 seconds ago":                                                                                       "план составлен 90 с назад",
		"a token can't live for 400 days":                                                                                        "токен не может действовать 400 сут",
		"the same was tried 1 minute ago and completed: run 01m by vera":                                                         "то же самое уже делали 1 мин назад, итог — выполнен: запуск 01m, vera",
		"it waits for an approval before it starts, for 2 hours at most, by maria or an admin, other than who asks (rule \"r\")": "до начала запуск ждёт одобрения, не дольше 2 ч; его может дать maria или администратор, но не тот, кто просит (правило «r»)",
		"the host's clock is 1 hour ahead of the server's":                                                                       "часы хоста спешат на 1 ч",
		"5 minutes of peace": "5 minutes of peace",
		"web1: unknown, the host did not answer for 5m0s: whether the script ran is not known (dial tcp: i/o timeout)": "web1: неизвестно, хост не отвечал 5 мин: выполнился ли скрипт, неизвестно (dial tcp: i/o timeout)",
		"mail to the owners and ops@shop.example, b@shop.example, c@shop.example and 2 more":                           "почта: владельцам, ops@shop.example, b@shop.example, c@shop.example и ещё 2",
		// what nobody knows stays, but for what it says of what is known
		"a sentence of a later version":                 "a sentence of a later version",
		"or: is this known, or not":                     "or: is this known, or not",
		"web1 can't be reached: dial tcp: no such door": "web1 недоступен: dial tcp: no such door",
		"<b> & \u202e":                                  `<b> & \u{202e}`,
	} {
		if got := In(Russian, english); got != want {
			t.Errorf("%q\n\tis told as %q\n\twant       %q", english, got, want)
		}
	}
	if got := In(English, "run 01m is over: aborted"); got != "run 01m is over: aborted" {
		t.Errorf("in English: %q", got)
	}
	hint := "wait until then; or an admin lifts it: restartilka freeze remove 01f --reason TEXT\nwhere it can't wait: --break-glass, by vera or an admin; others are told, and look at it afterwards"
	want := []string{"подождите до этого времени; или снимите заморозку (это может администратор): restartilka freeze remove 01f --reason ТЕКСТ", "если ждать нельзя: --break-glass (это может vera или администратор); остальные узнают и потом это разберут"}
	if got := Lines(Russian, hint); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestSayingsAreWhole: a Russian sentence has the values of the English one.
func TestSayingsAreWhole(t *testing.T) {
	cyrillic, forms := regexp.MustCompile(`\p{Cyrillic}`), regexp.MustCompile(`\{[^{}|]*\|[^{}]*\}`)
	of := 0
	for english, russian := range texts {
		of++
		var had, has []int
		for _, p := range piecesOf(english) {
			if p.value >= 0 {
				had = append(had, p.value)
			}
		}
		for _, p := range piecesOf(russian) {
			switch {
			case p.forms != nil && len(p.forms) != 3:
				t.Errorf("%q: %d forms", russian, len(p.forms))
			case p.value >= 0 && p.forms == nil:
				has = append(has, p.value)
				if !strings.ContainsRune("sdw", rune(p.verb)) {
					t.Errorf("%q has %%%c", russian, p.verb)
				}
			}
			if p.value >= 0 && !slices.Contains(had, p.value) {
				t.Errorf("%q: value %d is not there in English", russian, p.value+1)
			}
		}
		slices.Sort(had)
		slices.Sort(has)
		if !slices.Equal(slices.Compact(had), slices.Compact(has)) {
			t.Errorf("%q: values %v, in Russian %v", english, had, has)
		}
		if english != russian && !cyrillic.MatchString(russian) && strings.ContainsFunc(strings.NewReplacer("%s", "", "%w", "", " in ", "").Replace(english), unicode.IsLetter) || strings.HasSuffix(russian, ".") {
			t.Errorf("%q: %q", english, russian)
		}
		for _, m := range forms.FindAllString(russian, -1) {
			if strings.Count(m, "|") != 2 {
				t.Errorf("%q: %s has not three forms", russian, m)
			}
		}
	}
	for _, area := range areas {
		of -= len(area)
	}
	if of != 0 {
		t.Errorf("%d sentences stand in two files", -of)
	}
}

// value makes one that a sentence could have, fit for the verb.
func value(t *rapid.T, verb byte) string {
	if verb == 'd' {
		return strconv.Itoa(rapid.IntRange(0, 120).Draw(t, "number"))
	}
	return rapid.StringMatching(`[a-z][a-z0-9.-]{0,12}|"[a-z <>]{1,8}"`).Draw(t, "name")
}

// TestEverySayingIsFound makes a sentence by each format and finds the format
// again, or one that has more of it.
func TestEverySayingIsFound(t *testing.T) {
	formats := slices.Sorted(maps.Keys(texts))
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom(formats).Draw(t, "format")
		pieces, weight := piecesOf(format), 0
		values := map[int]string{}
		var b strings.Builder
		for _, p := range pieces {
			weight += len(p.text)
			if p.value >= 0 && values[p.value] == "" {
				values[p.value] = value(t, p.verb)
			}
			b.WriteString(p.text + values[p.value])
		}
		x, got := table().find(b.String())
		if x == nil || x.weight < weight {
			t.Fatalf("%q is not found", b.String())
		}
		if x.format == format {
			for i, v := range got {
				if v != values[i] && len(pieces) < 2*len(values) { // two values side by side can be cut in two ways
					t.Fatalf("%q: value %d is %q, want %q", b.String(), i+1, v, values[i])
				}
			}
		}
		if told := In(Russian, b.String()); told == b.String() && texts[format] != format {
			t.Fatalf("%q stays as it is", told)
		}
	})
}

func FuzzSaid(f *testing.F) {
	f.Add("run 01m is over: aborted")
	f.Add(strings.Repeat("a or b, (c; d: ", 300))
	f.Add(strings.Repeat("(", 200) + strings.Repeat(")", 200))
	f.Add("the plan is not true any more: web1 is not in the group any more; web2 has joined the group")
	f.Fuzz(func(t *testing.T, text string) {
		told := In(Russian, text)
		if len(text) > longestSaid && !strings.ContainsAny(told, text[:1]) && told == "" {
			t.Errorf("%q is lost", text)
		}
		for _, line := range Lines(Russian, text) {
			if strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("%q is not escaped", line)
			}
		}
	})
}

func BenchmarkSaid(b *testing.B) {
	for name, text := range map[string]string{
		"known":    "the host did not answer for 5m0s: whether the script ran is not known (dial tcp 10.0.0.1:3131: i/o timeout)",
		"composed": "web1.example.com: failed, not healthy within 1m0s: for the last 20s: unit shop.service is failed (failed); 2 hosts are not well, 1 allowed",
		"unknown":  "the unit did not become active within 60 s, or so it seems: nobody has said anything about it (yet); look at it",
		"longest":  strings.Repeat("a or b: ", longestSaid/8),
		"twisted":  strings.Repeat("run %s is (a; b), or c: ", longestSaid/24),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				In(Russian, text)
			}
		})
	}
}
