package parse

func hotspotJSONTitle(*source) bool { return false }
func readHotSpotJSON(*reading)      {}
