package web

// frameTexts is every text of what every page has.
var frameTexts = map[string]text{
	"brand.tagline":    {"Restart your own services, safely", "Безопасный перезапуск своих сервисов"},
	"layout.skip":      {"Skip to content", "К содержанию"},
	"layout.runs":      {"Runs", "Запуски"},
	"layout.scenarios": {"Scenarios", "Сценарии"},
	"layout.out":       {"Sign out", "Выйти"},
	"layout.utc":       {"All times are UTC.", "Всё время — UTC."},
	"layout.request":   {"Request %s", "Запрос %s"},

	"layout.profile": {"Your sessions, tokens and password", "Ваши сеансы, токены и пароль"},
	"notice.local":   {"No remote log: records stay on this server's own disk (audit.require: spool).", "Журнал не уходит на другой сервер: записи остаются на диске этого (audit.require: spool)."},

	"problem.not_reviewed": {"This is not reviewed", "Это не прошло рецензию"},
	"problem.not_found":    {"There is nothing here", "Здесь ничего нет"},
	"problem.forbidden":    {"This is not allowed", "Это не разрешено"},
	"problem.frozen":       {"This is frozen now", "Сейчас это заморожено"},
	"problem.unavailable":  {"Not available just now", "Сейчас недоступно"},
	"problem.invalid":      {"This request does not make sense", "Запрос не понят"},
	"problem.other":        {"That did not work", "Не получилось"},
	"problem.internal":     {"Something went wrong on our side. The server's log has the details under the number below.", "Ошибка на нашей стороне. Подробности — в журнале сервера под номером ниже."},
	"problem.back":         {"To the runs", "К запускам"},
	"problem.run":          {"Back to the run", "Назад к запуску"},
	"problem.norun":        {"There is no run %s.", "Запуска %s нет."},
	"problem.nohost":       {"The run has no host %s.", "В этом запуске нет хоста %s."},

	"unit.s":   {"s", "с"},
	"unit.min": {"min", "мин"},
	"unit.h":   {"h", "ч"},
	"time.s":   {"%s s", "%s с"},
	"time.ms":  {"%d ms", "%d мс"},
	"time.m":   {"%d min %d s", "%d мин %d с"},
	"time.h":   {"%d h %d min", "%d ч %d мин"},
}
