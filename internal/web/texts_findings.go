package web

// findingTexts is how grave findings in thread dumps are, and how to get to their
// threads. What they say themselves, package said tells.
var findingTexts = map[string]text{
	"severity.alarm":   {"Alarm", "Тревога"},
	"severity.warning": {"Warning", "Внимание"},
	"severity.note":    {"Note", "Заметка"},
	"severity.nothing": {"Quiet", "Спокойно"},

	"finding.threads": {"Show its threads", "Показать потоки"},
}
