// Answers every request with the contents of VERSION.
package main

import (
	"log"
	"net/http"
	"os"

	"example.com/greet"
)

func main() {
	version, err := os.ReadFile("VERSION")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(greet.Line(string(version))))
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
