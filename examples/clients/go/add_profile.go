// Adds a profile and prints the reply. Go, amqp091-go.
//
//	AMQP_URL=amqp://… go run . '{"token": "…", "db_id": 1, "data": {…}}'
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	attempts = 3
	replyTo  = "amq.rabbitmq.reply-to"
)

// addProfile returns the reply. A refusal is a reply, too: look at its error.
func addProfile(connection *amqp.Connection, queue, body, messageID string, timeout time.Duration) ([]byte, error) {
	channel, err := connection.Channel()
	if err != nil {
		return nil, err
	}
	// RabbitMQ wants the consumer there before the request that names it.
	replies, err := channel.Consume(replyTo, "", true, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, attempts))
	returns := channel.NotifyReturn(make(chan amqp.Return, attempts))
	request := amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: []byte(body),
		MessageId: messageID, CorrelationId: messageID, ReplyTo: replyTo,
	}
	if strings.HasPrefix(body, "<") {
		request.ContentType = "application/xml"
	}

	// The same body with the same message id is the same request, so it is safe to send it again.
	for attempt := 0; attempt < attempts; attempt++ {
		const mandatory, immediate = true, false
		err := channel.PublishWithContext(context.Background(), "", queue, mandatory, immediate, request)
		if err != nil {
			return nil, err
		}
		deadline := time.After(timeout)
	waiting:
		for {
			select {
			case _, open := <-returns:
				if open {
					return nil, fmt.Errorf("there is no queue %s", queue)
				}
				return nil, errors.New("the connection was lost")
			case confirm := <-confirms:
				if !confirm.Ack {
					return nil, errors.New("the broker did not confirm the request")
				}
			case reply, open := <-replies:
				if !open {
					return nil, errors.New("the connection was lost")
				}
				if reply.CorrelationId == messageID {
					return reply.Body, nil
				}
			case <-deadline:
				break waiting
			}
		}
	}
	return nil, fmt.Errorf("no reply to %d attempts; MESSAGE_ID=%s continues this request", attempts, messageID)
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("give the body of the request")
	}
	timeout, err := time.ParseDuration(setting("REPLY_TIMEOUT", "10") + "s")
	if err != nil {
		log.Fatal(err)
	}
	connection, err := amqp.Dial(os.Getenv("AMQP_URL"))
	if err != nil {
		log.Fatal(err)
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		log.Fatal(err)
	}
	messageID := setting("MESSAGE_ID", hex.EncodeToString(random))
	queue := setting("REQUEST_QUEUE", "profiles.add")
	reply, err := addProfile(connection, queue, os.Args[1], messageID, timeout)
	connection.Close()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
