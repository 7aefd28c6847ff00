package web

// lockTexts is every text of the page of who holds what.
var lockTexts = map[string]text{
	"heldlocks.title":      {"Who holds what", "Кто что занимает"},
	"heldlocks.about":      {"A run that restarts a service holds it until it ends, so that two never touch it at once. Where locks are shared with others (ZooKeeper, FleetLock), it takes them too, and goes to no further host without them.", "Запуск, который перезапускает сервис, занимает его до своего конца, чтобы два запуска не тронули его разом. Если есть блокировки, общие с другими (ZooKeeper, FleetLock), он берёт и их и без них не идёт к следующему хосту."},
	"outsidelock.waiting":  {"waits", "ждёт"},
	"outsidelock.held":     {"held", "взята"},
	"outsidelock.lost":     {"lost", "потеряна"},
	"outsidelock.bypassed": {"gone without", "без неё"},
}
